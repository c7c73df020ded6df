"""Fixtures: a live site with users, guards and limits, and its visitors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


@pytest.fixture(scope="module")
def site(module_live: Live) -> Iterator[LiveServer]:
    """A site that the tests of a module share; its log holds refusals, but no traceback."""
    server = module_live("gunicorn-gthread", APP, config={"PROXIES": True}, clean=False)
    yield server
    server.stop()
    assert "Traceback" not in server.log


@pytest.fixture
def visitor(site: LiveServer) -> Visitor:
    return Visitor(site)
