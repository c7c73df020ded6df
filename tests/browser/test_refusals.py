"""Refused plots: what the page shows in their place."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..support.browser import Tab
from ..support.servers import Live
from ..support.visitors import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

APP = "tests.live_apps.guarded:create_app()"


def test_a_limit_in_the_plots_place(live: Live, tab: Tab) -> None:
    """Over a limit the page is whole, and the plot's place says why."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_MAX_SESSIONS": 1}, clean=False)
    visitor = Visitor(site)
    with visitor.upgrade(visitor.token()) as upgraded:
        assert upgraded.status == 101
        tab.page.goto(f"{site.url}/show/open")
        box = tab.page.get_by_role("alert")
        box.wait_for(timeout=60_000)
        assert box.inner_text() == (
            "This site shows as many plots as it can at a time. Reload the page."
        )
        assert site.log.count("GET /show/open") == 2  # the page did not reload itself
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_a_logout_in_another_tab(live: Live, tab: Tab) -> None:
    """After a logout in another tab, the page reloads itself and shows the login page."""
    site = live("gunicorn-gthread", APP, clean=False)
    tab.page.goto(f"{site.url}/login/ann")
    tab.open(f"{site.url}/show/private")
    other = tab.page.context.new_page()
    other.goto(f"{site.url}/logout")
    tab.page.wait_for_url("**/login?next=*", timeout=60_000)
    assert "please log in" in tab.page.inner_text("body")
    tab.forgive_the_network()
    tab.forgive("status of 403")


def test_a_guard_that_sends_elsewhere(live: Live, tab: Tab) -> None:
    """A user who is suspended meanwhile is redirected by the guard of the page."""
    config = {"BOKEH_SECRET_KEY": secrets.token_hex(16)}  # or it would meet other tests' workers
    site = live("gunicorn-gthread", APP, config=config, clean=False)
    sockets: list[WebSocketRoute] = []

    def through(one: WebSocketRoute) -> None:
        sockets.append(one)
        one.connect_to_server()

    tab.page.route_web_socket("**/ws*", through)
    tab.page.goto(f"{site.url}/login/ann")
    tab.open(f"{site.url}/show/owned?owner=ann")
    Visitor(site).get("/role/ann/suspended")
    sockets[0].close()  # as a bad network would
    tab.page.wait_for_url("**/login", timeout=60_000)
    tab.forgive_the_network()


def test_a_browser_that_comes_back(live: Live, tab: Tab, port: int) -> None:
    """A browser's cookie lets its page reconnect, long after its token's short life."""
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
