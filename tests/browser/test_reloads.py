"""Pages reload themselves only where that repeats nothing and loses nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ..support.browser import Tab
from ..support.reloads import RequestCounts
from ..support.servers import Live, LiveServer
from ..support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page

APP = "tests.live_apps.reloads:create_app()"


ENDED = "This plot has ended. "


@pytest.fixture
def site(module_live: Live) -> LiveServer:
    return module_live(app=APP, clean=False)


def end_sessions(site: LiveServer, tab: Tab) -> Locator:
    """End the sessions of the page; wait for the message in it and return its box."""
    assert int(site.post("/close")) >= 1
    box = tab.page.get_by_role("alert").first
    box.wait_for()
    tab.forgive_the_network()
    return box


def until_reloaded(site: LiveServer, tab: Tab) -> None:
    """End the sessions of the page and wait until the page has loaded again."""
    tab.page.evaluate("window.before = true")
    assert int(site.post("/close")) >= 1
    tab.page.wait_for_function("window.before === undefined")
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    tab.forgive_the_network()


def test_answer_to_a_post_is_not_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """A page that answers a POST shows a link, which requests the page by GET."""
    tab.page.goto(site.url)
    tab.page.click("button")
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    tab.page.evaluate("location.hash = 'here'")  # a link to the same fragment would do nothing
    box = end_sessions(site, tab)
    assert box.inner_text() == f"{ENDED}Open this page again."
    assert requests.all() == {"GET /": 1, "POST /order": 1, "POST /close": 1}
    box.get_by_role("link").click()
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    assert requests["POST /order"] == 1
    assert requests["GET /order"] == 1


def test_post_whose_plot_is_unreachable_is_not_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """A page that answers a POST shows a link if it cannot open a WebSocket."""
    tab.page.route_web_socket("**/ws*", lambda socket: socket.close())
    tab.page.goto(site.url)
    tab.page.click("button")
    box = tab.page.get_by_role("alert")
    box.wait_for()
    assert box.inner_text() == "This plot could not be reached. Open this page again."
    assert requests["POST /order"] == 1
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_redirect_after_a_post_is_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """A page to which a POST was redirected answers a GET and reloads itself."""
    tab.page.goto(site.url)
    tab.page.click("#then")
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1")
    until_reloaded(site, tab)
    assert (requests["POST /redirected"], requests["GET /order"]) == (1, 2)


@pytest.mark.parametrize("way", ["pushState", "replaceState"])
def test_page_is_reloaded_from_the_address_it_has_set(
    site: LiveServer, requests: RequestCounts, tab: Tab, way: str
) -> None:
    """A page that has changed its own address requests the new address by GET."""
    tab.open(f"{site.url}/note")
    tab.page.evaluate(f"history.{way}(null, '', '/order')")
    until_reloaded(site, tab)
    assert requests["GET /order"] == 1


INSERT = """async ([path, method]) => {
    const html = await (await fetch(path, {method})).text();
    const part = document.createRange().createContextualFragment(html);
    for (const script of part.querySelectorAll("script[src]")) script.remove(); // the page has it
    document.body.append(part);
}"""


def test_page_with_a_fragment_from_a_post_is_not_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """A page into which a script has put the answer to a POST does not reload itself."""
    tab.open(f"{site.url}/note")
    tab.page.evaluate(INSERT, ["/fragment", "POST"])
    tab.page.wait_for_function("Bokeh.documents.length == 2 && Bokeh.documents[1].is_idle")
    assert end_sessions(site, tab).inner_text() == f"{ENDED}Open this page again."
    tab.page.wait_for_function("document.querySelectorAll('.flask-bokeh-message').length == 2")
    assert requests["GET /note"] == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_page_with_a_fragment_is_reloaded_if_it_answers_get(
    site: LiveServer, requests: RequestCounts, tab: Tab, method: str
) -> None:
    """A page without plots of its own reloads itself depending on its own request."""
    tab.page.goto(f"{site.url}/around")
    if method == "POST":
        tab.page.click("button")
    tab.page.evaluate(INSERT, ["/fragment", "GET"])
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1 && Bokeh.documents[0].is_idle")
    if method == "POST":
        assert end_sessions(site, tab).inner_text() == f"{ENDED}Open this page again."
        assert requests["POST /around"] == 1
        return
    site.post("/close")
    eventually(lambda: requests["GET /around"] == 2, "the page to reload itself")
    tab.page.wait_for_function("window.FlaskBokeh")  # and the last messages of the console
    tab.forgive_the_network()


def into(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).press_sequentially("a")


def set_value_without_events(page: Page) -> None:
    page.mouse.click(1, 1)
    page.evaluate("document.querySelector('textarea').value = 'typed'")


TYPED: dict[str, Callable[[Page], None]] = {
    "field": into("#field"),
    "text": into("textarea"),
    "editable": into("[contenteditable]"),
    "choice": lambda page: page.locator("[type=checkbox]").check(),
    "widget": into(".bk-TextInput input"),
    # Typed before our script was loaded, or with the events stopped by the page.
    "silent": set_value_without_events,
}


@pytest.mark.parametrize("what", TYPED)
def test_page_in_which_was_typed_is_not_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab, what: str
) -> None:
    """A page in which the visitor has typed, also in a widget of a plot, does not reload."""
    tab.open(f"{site.url}/note")
    TYPED[what](tab.page)
    assert end_sessions(site, tab).inner_text() == f"{ENDED}Reload the page."
    assert tab.page.get_by_text("Reconnecting now.").count() == 0
    assert requests["GET /note"] == 1


def test_page_with_fields_set_by_a_script_is_reloaded(
    site: LiveServer, requests: RequestCounts, tab: Tab
) -> None:
    """Fields that a script has filled do not keep an untouched page from reloading itself."""
    opened = plots(site)
    tab.page.goto(f"{site.url}/dated")

    # Anything else that Playwright does in the page counts as a touch.
    def until(check: Callable[[], bool], name: str) -> None:
        def waited() -> bool:
            tab.page.wait_for_timeout(100)
            return check()

        eventually(waited, name)

    until(lambda: plots(site) > opened, "the plot")
    opened = plots(site)
    assert int(site.post("/close")) >= 1
    until(lambda: requests["GET /dated"] == 2, "the page to reload itself")
    until(lambda: plots(site) > opened, "the plot of the new page")
    tab.forgive_the_network()
    tab.forgive("Failed to repull session")


def plots(site: LiveServer) -> int:
    """Return how many WebSockets of the plot the site has opened."""
    return len(re.findall(r'/bokeh/plot/ws HTTP/1.1"? 101', site.log))


@pytest.mark.parametrize("path", ["/frame", "/sandbox"])
def test_plot_in_a_frame_with_srcdoc_is_live(module_live: Live, tab: Tab, path: str) -> None:
    """A plot in <iframe srcdoc>, which has no host, answers its slider."""
    site = module_live(app=APP)
    tab.page.goto(site.url + path)
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for()
    tab.forgive("can escape its sandboxing")


def test_frame_with_srcdoc_is_not_reloaded(site: LiveServer, tab: Tab) -> None:
    """An <iframe srcdoc> shows a message, as a reload would bring back the ended session."""
    tab.page.goto(f"{site.url}/frame-pulled")
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for()
    assert int(site.post("/close")) >= 1
    box = frame.get_by_role("alert")
    box.wait_for()
    assert box.inner_text() == f"{ENDED}Reload the page."
    assert box.get_by_role("link").count() == 0
    tab.forgive_the_network()


def slide(frame: FrameLocator) -> None:
    handle = frame.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
