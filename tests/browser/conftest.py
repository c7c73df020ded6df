"""Requests that a test's pages have made."""

from __future__ import annotations

import pytest

from ..support.reloads import RequestCounts
from ..support.servers import LiveServer


@pytest.fixture
def requests(site: LiveServer) -> RequestCounts:
    """Requests since the start of the test, to the site that the tests of a module share."""
    return RequestCounts(site)
