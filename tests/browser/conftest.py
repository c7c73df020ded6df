"""Tabs that share a profile, and so the scripts that it has loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ..support.browser import Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A profile that the tests of a module share. Cookies are removed after each test."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, ignore_https_errors=True)
    yield context
    context.close()


@pytest.fixture
def quick_tab(profile: BrowserContext) -> Iterator[Tab]:
    """A fresh page in the module's profile: BokehJS of a shared server is already in its cache.

    Its console must stay clean.
    """
    tab = Tab(profile.new_page())
    yield tab
    for page in profile.pages:
        page.close()
    profile.clear_cookies()
    assert tab.trouble == []
