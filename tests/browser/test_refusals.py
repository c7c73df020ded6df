"""Refused plots: what the page shows in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.browser import Tab
from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

APP = "tests.live_apps.guarded:create_app()"


@pytest.fixture
def site(module_live: Live) -> LiveServer:
    """A server for tests with users of their own."""
    return module_live("gunicorn-gthread", APP, clean=False)


def test_reached_limit_is_shown_in_place_of_the_plot(live: Live, tab: Tab) -> None:
    """A page over a limit shows a message in place of its plot and does not reload itself."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_MAX_SESSIONS": 1}, clean=False)
    visitor = Visitor(site)
    with visitor.upgrade(visitor.token()) as upgraded:
        assert upgraded.status == 101
        tab.page.goto(f"{site.url}/show/open")
        box = tab.page.get_by_role("alert")
        box.wait_for()
        assert box.inner_text() == (
            "This site shows as many plots as it can at a time. Reload the page."
        )
        assert site.log.count("GET /show/open") == 2  # the page did not reload itself
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_logout_in_another_tab_reloads_the_page(site: LiveServer, tab: Tab) -> None:
    """After a logout in another tab, the page reloads itself and shows the login page."""
    tab.page.goto(f"{site.url}/login/ann")
    tab.open(f"{site.url}/show/private")
    other = tab.page.context.new_page()
    other.goto(f"{site.url}/logout")
    tab.page.wait_for_url("**/login?next=*")
    assert "please log in" in tab.page.inner_text("body")
    tab.forgive_the_network()
    tab.forgive("status of 403")


def test_guard_that_redirects_reloads_the_page(site: LiveServer, tab: Tab) -> None:
    """A page whose guard redirects its user meanwhile reloads itself when it reconnects."""
    sockets: list[WebSocketRoute] = []

    def through(one: WebSocketRoute) -> None:
        sockets.append(one)
        one.connect_to_server()

    tab.page.route_web_socket("**/ws*", through)
    tab.page.goto(f"{site.url}/login/bob")
    tab.open(f"{site.url}/show/owned?owner=bob")
    Visitor(site).get("/role/bob/suspended")
    sockets[0].close()  # as a bad network would
    tab.page.wait_for_url("**/login")
    tab.forgive_the_network()


def test_page_with_an_expired_token_reconnects_by_its_cookie(
    live: Live, tab: Tab, port: int
) -> None:
    """A browser's cookie lets its page reconnect after its token's short life."""
    config = {"BOKEH_TOKEN_EXPIRATION": 1}
    site = live("gunicorn-gthread", APP, config=config, port=port, clean=False)
    tab.open(f"{site.url}/show/open")
    tab.move_slider()
    tab.until_title("k=2")
    (cookie,) = tab.page.context.cookies()
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Lax"
    assert tab.page.evaluate("document.cookie") == ""
    tab.page.evaluate("Bokeh.documents[0]")
    tab.page.wait_for_timeout(1100)  # the token expires
    site.stop()
    live("gunicorn-gthread", APP, port=port, clean=False)
    tab.until_message("Reconnected websocket")
    tab.move_slider(2)
    tab.until_title("k=3")
    tab.forgive_the_network()
