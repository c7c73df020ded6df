"""A page reloads itself only where that repeats nothing and takes nothing away."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import FrameLocator, Locator, Page

from flask_bokeh import FlaskBokeh

from .conftest import Live, LiveServer, Tab, eventually

APP = "tests.live_apps.reloads:create_app()"
ENDED = "This plot has ended. "
TOO_LARGE = "What was sent to this plot was too large, and has not arrived."


def requests_of(site: LiveServer) -> dict[str, int]:
    """How often each page was asked for."""
    counts: dict[str, int] = json.loads(site.get("/counts"))
    return counts


def end_sessions(site: LiveServer, tab: Tab) -> Locator:
    """End the sessions of the page, and wait until it says so."""
    assert int(site.post("/close")) >= 1
    box = tab.page.get_by_role("alert").first
    box.wait_for(timeout=20_000)
    tab.forgive_the_network()
    return box


def until_reloaded(site: LiveServer, tab: Tab) -> None:
    """End the sessions of the page, and wait until it is another page."""
    tab.page.evaluate("window.before = true")
    assert int(site.post("/close")) >= 1
    tab.page.wait_for_function("window.before === undefined", timeout=20_000)
    tab.page.wait_for_function("window.Bokeh?.documents.length == 1", timeout=20_000)
    tab.forgive_the_network()


# --- the answer to a POST -------------------------------------------------------------------


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
    """Where no WebSocket can be opened, one click is one order as well."""
    site = live(app=APP, clean=False)
    tab.page.route_web_socket("**/ws*", lambda socket: socket.close())
    tab.page.goto(site.url)
    tab.page.click("button")
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=20_000)
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


# --- parts that are fetched by a script -----------------------------------------------------

INSERT = """async ([path, method]) => {
    const html = await (await fetch(path, {method})).text();
    const part = document.createRange().createContextualFragment(html);
    for (const script of part.querySelectorAll("script[src]")) script.remove(); // the page has it
    document.body.append(part);
}"""


def test_a_post_that_is_inserted(live: Live, tab: Tab) -> None:
    """What a script has fetched by POST would be lost: no plot of that page reloads it."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/note")
    tab.page.evaluate(INSERT, ["/fragment", "POST"])
    tab.page.wait_for_function("Bokeh.documents.length == 2 && Bokeh.documents[1].is_idle")
    assert end_sessions(site, tab).inner_text() == f"{ENDED}Open this page again."
    tab.page.wait_for_function("document.querySelectorAll('.flask-bokeh-message').length == 2")
    assert requests_of(site)["GET /note"] == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fragment_in_a_page_without_plots(live: Live, tab: Tab, method: str) -> None:
    """Whether the page reloads depends on how it was asked for itself."""
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


# --- what the visitor has typed -------------------------------------------------------------


def into(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).press_sequentially("a")


TYPED: dict[str, Callable[[Page], None]] = {
    "field": into("#field"),
    "text": into("textarea"),
    "editable": into("[contenteditable]"),
    "choice": lambda page: page.locator("[type=checkbox]").check(),
    "widget": into(".bk-TextInput input"),
    # Before our script came, or with the events of the page stopped on their way.
    "unheard": lambda page: (
        page.mouse.click(1, 1),
        page.evaluate("document.querySelector('textarea').value = 'typed'"),
    )[0],
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
        eventually(lambda: tab.page.wait_for_timeout(100) or what(), name)

    until(lambda: "/bokeh/plot/ws HTTP/1.1 101" in plain(site.log), "the plot")
    assert site.post("/close") == "1"
    until(lambda: requests_of(site)["GET /dated"] == 2, "the page to reload itself")
    tab.forgive_the_network()
    tab.forgive("Failed to repull session")


def plain(log: str) -> str:
    """Werkzeug's access log without the quotes around what was asked for."""
    return log.replace('"', "")


# --- frames without an address --------------------------------------------------------------


@pytest.mark.parametrize("path", ["/frame", "/sandbox"])
def test_a_frame_with_srcdoc(live: Live, tab: Tab, path: str) -> None:
    """In <iframe srcdoc>, which has no host, a plot lives."""
    site = live(app=APP)
    tab.page.goto(site.url + path)
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for(timeout=20_000)
    tab.forgive("can escape its sandboxing")


def test_a_frame_with_srcdoc_ends(live: Live, tab: Tab) -> None:
    """A reload of the frame would only show the old session again."""
    site = live(app=APP, clean=False)
    tab.page.goto(f"{site.url}/frame-pulled")
    frame = tab.page.frame_locator("iframe")
    slide(frame)
    frame.get_by_text("k=2").wait_for(timeout=20_000)
    assert site.post("/close") == "1"
    box = frame.get_by_role("alert")
    box.wait_for(timeout=20_000)
    assert box.inner_text() == f"{ENDED}Reload the page."
    assert box.get_by_role("link").count() == 0
    tab.forgive_the_network()


def slide(frame: FrameLocator) -> None:
    handle = frame.locator(".noUi-handle")
    handle.focus(timeout=20_000)
    handle.press("ArrowRight")


# --- messages that are too large ------------------------------------------------------------


@pytest.mark.parametrize(
    "server", ["werkzeug", "gunicorn-gevent", "flask-bokeh-run", "werkzeug-tls"]
)
def test_an_upload_over_the_limit(live: Live, tab: Tab, tmp_path: Path, server: str) -> None:
    """The visitor is told, the page stays, and the plot goes on with what the server has."""
    site = live(server, APP, config={"BOKEH_MAX_MESSAGE_SIZE": 1_000_000}, clean=False)
    tab.open(f"{site.url}/show/upload")
    for name, size in (("large", 8_000_000), ("small", 3)):
        (tmp_path / name).write_bytes(os.urandom(size))
    chooser = tab.page.locator("input[type=file]")
    for _ in range(2):
        chooser.set_input_files(tmp_path / "large")
        tab.until_message("Reconnected websocket")
        tab.messages.clear()
    box = tab.page.get_by_role("alert")
    assert box.inner_text() == f"{TOO_LARGE} OK"
    box.get_by_role("button").click()
    assert box.count() == 0
    chooser.set_input_files(tmp_path / "small")
    tab.page.get_by_text("4 letters").wait_for(timeout=20_000)
    site.until_logged("larger than BOKEH_MAX_MESSAGE_SIZE allows")
    assert requests_of(site)["GET /show/upload"] == 1
    tab.forgive_the_network()


def test_a_page_that_sends_too_much_again_and_again(live: Live, tab: Tab) -> None:
    """It stops after some times: the page does not connect for ever."""
    site = live(app=APP, config={"BOKEH_MAX_MESSAGE_SIZE": 1_000_000}, clean=False)
    tab.open(f"{site.url}/show/source")
    tab.page.evaluate(
        """() => {
            const doc = Bokeh.documents[0];
            const data = {x: Array.from({length: 200_000}, Math.random)};
            const send = () => doc.get_model_by_name("source").data = data;
            doc.on_event("client_reconnected", send);
            send();
        }"""
    )
    box = tab.page.get_by_text(f"{TOO_LARGE} Reload the page.")
    box.wait_for(timeout=30_000)
    assert requests_of(site)["GET /show/source"] == 1
    assert site.log.count("GET /bokeh/source/ws") == 5
    tab.forgive_the_network()


# --- documents that can't be serialized -----------------------------------------------------

DECIMAL = "can't serialize <class 'decimal.Decimal'>"
PAGES = ["/show/decimal", "/bokeh/decimal", "/second-root", "/pull/direct", "/show/js"]


@pytest.mark.parametrize("path", [*PAGES, "/show/title"])
def test_a_document_that_cannot_be_serialized(live: Live, tab: Tab, path: str) -> None:
    """It is the box of a failed application, with a reference that the log has, once."""
    site = live(app=APP, clean=False)
    tab.page.goto(site.url + path)
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=20_000)
    assert "This plot could not be made." in box.inner_text()
    assert "Decimal" not in box.inner_text()
    reference = box.locator("code").inner_text()
    site.until_logged(f"[reference {reference}]")
    assert site.log.count("[reference ") == 1
    assert "error handling message" not in site.log
    if not path.startswith("/bokeh/"):
        assert requests_of(site)[f"GET {path}"] == 1
    else:
        assert site.log.count("GET /bokeh/decimal HTTP") == 1
        tab.forgive("404")  # no icon


def test_the_model_is_named(live: Live, tab: Tab) -> None:
    """The log, and in debug mode the box, name model, property, column and type."""
    site = live(app=APP, args=["--debug", "--no-reload"], clean=False)
    tab.page.goto(f"{site.url}/show/decimal")
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=20_000)
    told = r"ColumnDataSource\(id='p\d+', name='sales'\)\.data\['price'\]: " + re.escape(DECIMAL)
    assert re.search(told, box.inner_text())
    site.until_logged("[reference ")
    assert re.search(told, site.log)


def test_a_client_pulls_it(live: Live) -> None:
    """With transport='client', the view that pulls the session gets the error."""
    site = live(app=APP, clean=False)
    with pytest.raises(OSError, match="500"):
        site.get("/pull/client")
    site.until_logged(f"name='sales').data['price']: {DECIMAL}")


def test_a_callback_sets_it(live: Live, tab: Tab) -> None:
    """The page says so and stays; the log has the reason; who connects again gets the box."""
    site = live(app=APP, clean=False)
    tab.open(f"{site.url}/show/callback")
    tab.page.get_by_role("button", name="break").click()
    site.until_logged(DECIMAL)
    alert = tab.page.get_by_role("alert")
    alert.get_by_text("Something went wrong here.").wait_for(timeout=20_000)
    site.post("/cut")
    box = alert.filter(has_text="This plot could not be made.")
    box.wait_for(timeout=20_000)
    site.until_logged(f"[reference {box.locator('code').inner_text()}]")
    assert re.search(r"Button\(id='p\d+', name='button'\)\.tags: ", site.log)
    assert requests_of(site)["GET /show/callback"] == 1
    tab.forgive_the_network()
    tab.forgive("Unhandled ERROR reply")


def test_check_serializable(app: Flask, bokeh: FlaskBokeh) -> None:
    """flask bokeh check names what can't be sent, and fails."""
    from .live_apps.reloads import decimal, plot

    bokeh.add_application("/plot", plot)
    bokeh.add_application("/decimal", decimal)
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert re.search(
        r"PROBLEM +/decimal: .*\.data\['price'\]: " + re.escape(DECIMAL), result.output
    )
    assert re.search(r"ok +/plot: ", result.output)
