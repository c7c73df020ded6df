"""Pages reload themselves only where that repeats nothing and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ..support.browser import Tab
from ..support.reloads import requests_of
from ..support.servers import Live, LiveServer
from ..support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page

APP = "tests.live_apps.reloads:create_app()"


ENDED = "This plot has ended. "


def end_sessions(site: LiveServer, tab: Tab) -> Locator:
    """End the sessions of the page, and wait until it says so."""
    assert int(site.post("/close")) >= 1
    box = tab.page.get_by_role("alert").first
    box.wait_for(timeout=60_000)
    tab.forgive_the_network()
    return box


def until_reloaded(site: LiveServer, tab: Tab) -> None:
    """End the sessions of the page, and wait until it is another page."""
    tab.page.evaluate("window.before = true")
    assert int(site.post("/close")) >= 1
    tab.page.wait_for_function("window.before === undefined", timeout=60_000)
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1", timeout=60_000)
    tab.forgive_the_network()


def test_the_answer_to_a_post_is_not_reloaded(live: Live, tab: Tab) -> None:
    """One click is one order; the link asks for the page without ordering again."""
    site = live(app=APP, clean=False)
    tab.page.goto(site.url)
    tab.page.click("button")
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    tab.page.evaluate("location.hash = 'here'")  # a link to the same fragment would do nothing
    box = end_sessions(site, tab)
    assert box.inner_text() == f"{ENDED}Open this page again."
    assert requests_of(site) == {"GET /": 1, "POST /order": 1, "POST /close": 1, "GET /counts": 1}
    box.get_by_role("link").click()
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    assert requests_of(site)["POST /order"] == 1
    assert requests_of(site)["GET /order"] == 1


def test_a_post_whose_plot_is_unreachable(live: Live, tab: Tab) -> None:
    """One click is one order, also if no WebSocket can be opened."""
    site = live(app=APP, clean=False)
    tab.page.route_web_socket("**/ws*", lambda socket: socket.close())
    tab.page.goto(site.url)
    tab.page.click("button")
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=60_000)
    assert box.inner_text() == "This plot could not be reached. Open this page again."
    assert requests_of(site)["POST /order"] == 1
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_a_redirect_after_a_post_is_reloaded(live: Live, tab: Tab) -> None:
    """A page that a POST was redirected to is the answer to a GET."""
    site = live(app=APP, clean=False)
    tab.page.goto(site.url)
    tab.page.click("#then")
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    until_reloaded(site, tab)
    counts = requests_of(site)
    assert (counts["POST /redirected"], counts["GET /order"]) == (1, 2)


@pytest.mark.parametrize("way", ["pushState", "replaceState"])
def test_a_page_with_another_address_is_reloaded(live: Live, tab: Tab, way: str) -> None:
    """A page that has changed its own address is loaded again from that one, by GET."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/note")
    tab.page.evaluate(f"history.{way}(null, '', '/order')")
    until_reloaded(site, tab)
    assert requests_of(site)["GET /order"] == 1


INSERT = """async ([path, method]) => {
    const html = await (await fetch(path, {method})).text();
    const part = document.createRange().createContextualFragment(html);
    for (const script of part.querySelectorAll("script[src]")) script.remove(); // the page has it
    document.body.append(part);
}"""


def test_a_post_that_is_inserted(live: Live, tab: Tab) -> None:
    """A page with a plot that a script has fetched by POST does not reload itself."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/note")
    tab.page.evaluate(INSERT, ["/fragment", "POST"])
    tab.page.wait_for_function("Bokeh.documents.length == 2 && Bokeh.documents[1].is_idle")
    assert end_sessions(site, tab).inner_text() == f"{ENDED}Open this page again."
    tab.page.wait_for_function("document.querySelectorAll('.flask-bokeh-message').length == 2")
    assert requests_of(site)["GET /note"] == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fragment_in_a_page_without_plots(live: Live, tab: Tab, method: str) -> None:
    """A page reloads itself or not, depending on how it was requested."""
    site = live(app=APP, clean=False)
    tab.page.goto(f"{site.url}/around")
    if method == "POST":
        tab.page.click("button")
    tab.page.evaluate(INSERT, ["/fragment", "GET"])
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1 && Bokeh.documents[0].is_idle")
    if method == "POST":
        assert end_sessions(site, tab).inner_text() == f"{ENDED}Open this page again."
        assert requests_of(site)["POST /around"] == 1
        return
    site.post("/close")
    eventually(lambda: requests_of(site)["GET /around"] == 2, "the page to reload itself")
    tab.page.wait_for_function("window.FlaskBokeh")  # and the console's last words
    tab.forgive_the_network()


def into(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).press_sequentially("a")


def type_unheard(page: Page) -> None:
    page.mouse.click(1, 1)
    page.evaluate("document.querySelector('textarea').value = 'typed'")


TYPED: dict[str, Callable[[Page], None]] = {
    "field": into("#field"),
    "text": into("textarea"),
    "editable": into("[contenteditable]"),
    "choice": lambda page: page.locator("[type=checkbox]").check(),
    "widget": into(".bk-TextInput input"),
    # Before our script came, or with the events of the page stopped on their way.
    "unheard": type_unheard,
}


@pytest.mark.parametrize("what", TYPED)
def test_what_was_typed_is_kept(live: Live, tab: Tab, what: str) -> None:
    """A page in which the visitor has typed, also in a widget of a plot, does not reload."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/note")
    TYPED[what](tab.page)
    assert end_sessions(site, tab).inner_text() == f"{ENDED}Reload the page."
    assert tab.page.get_by_text("Reconnecting now.").count() == 0
    assert requests_of(site)["GET /note"] == 1


def test_a_page_fills_its_own_fields(live: Live, tab: Tab) -> None:
    """Fields that a script has set, on a page that nobody has touched, keep nobody waiting."""
    site = live(app=APP, clean=False)
    tab.page.goto(f"{site.url}/dated")

    # Whatever else Playwright asks of the page counts as a touch.
    def until(what: Callable[[], bool], name: str) -> None:
        def check() -> bool:
            tab.page.wait_for_timeout(100)
            return what()

        eventually(check, name)

    until(lambda: "/bokeh/plot/ws HTTP/1.1 101" in plain(site.log), "the plot")
    assert site.post("/close") == "1"
    until(lambda: requests_of(site)["GET /dated"] == 2, "the page to reload itself")
    tab.forgive_the_network()
    tab.forgive("Failed to repull session")


def plain(log: str) -> str:
    """Werkzeug's access log without the quotes around what was asked for."""
    return log.replace('"', "")


@pytest.mark.parametrize("path", ["/frame", "/sandbox"])
def test_a_frame_with_srcdoc(live: Live, tab: Tab, path: str) -> None:
    """In <iframe srcdoc>, which has no host, a plot lives."""
    site = live(app=APP)
    tab.page.goto(site.url + path)
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for(timeout=60_000)
    tab.forgive("can escape its sandboxing")


def test_a_frame_with_srcdoc_ends(live: Live, tab: Tab) -> None:
    """A reload of the frame would only show the old session again."""
    site = live(app=APP, clean=False)
    tab.page.goto(f"{site.url}/frame-pulled")
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for(timeout=60_000)
    assert site.post("/close") == "1"
    box = frame.get_by_role("alert")
    box.wait_for(timeout=60_000)
    assert box.inner_text() == f"{ENDED}Reload the page."
    assert box.get_by_role("link").count() == 0
    tab.forgive_the_network()


def slide(frame: FrameLocator) -> None:
    handle = frame.locator(".noUi-handle")
    handle.focus(timeout=60_000)
    handle.press("ArrowRight")
