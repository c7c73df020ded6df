"""Plots in a real browser: edits, callbacks, errors, outages."""

from __future__ import annotations

import pytest
from bokeh.embed import server_document

from ..support.browser import Tab
from ..support.servers import COMMANDS, Live
from ..support.waiting import eventually


def test_several_on_a_page(live: Live, tab: Tab) -> None:
    """A pulled session, one from a hook, and one root of a third share a page and BokehJS."""
    site = live()
    tab.open(f"{site.url}/many?user=ann", plots=3)
    titles = tab.page.evaluate(
        "Bokeh.documents.map(d => d.roots().map(r => (r.title ?? r.children[1].title).text))"
    )
    assert sorted(titles) == [["for ann  "], ["left", "right"], ["made for ann"]]
    assert tab.page.locator("script[src*='bokeh.min.js']").count() == 1
    shown = tab.page.locator(".bk-Figure").filter(visible=True)
    assert shown.count() == 3  # of four, one is hidden
    tab.move_slider()
    tab.until_title("made for ann k=2")


def test_an_error_stays_in_its_place(live: Live, tab: Tab) -> None:
    """An application and a hook that raise show a box with a reference, which the log has, too."""
    site = live(clean=False)
    tab.open(f"{site.url}/broken", plots=2)
    assert tab.page.locator("h1").inner_text() == "works"
    boxes = tab.page.get_by_role("alert")
    eventually(lambda: boxes.count() == 2, "two boxes")
    for box, culprit in zip(boxes.all(), ["The application /raises", "The hook"], strict=True):
        reference = box.locator("code").inner_text()
        site.until_logged(f"[reference {reference}]")
        line = next(line for line in site.log.splitlines() if f"[reference {reference}]" in line)
        assert culprit in line
        assert "the data are gone" not in box.inner_text()
    site.until_logged("LookupError: the data are gone")
    site.until_logged("KeyError")


def test_an_error_in_debug_mode(live: Live, tab: Tab) -> None:
    """In debug mode the box shows the traceback."""
    site = live(args=["--debug", "--no-reload"], clean=False)
    tab.open(f"{site.url}/broken", plots=2)
    box = tab.page.get_by_role("alert").first
    assert "LookupError: the data are gone" in box.inner_text()
    assert "in raises" in box.inner_text()


def test_a_page_of_its_own(live: Live, tab: Tab) -> None:
    """An application with page=True lives at its own address."""
    site = live()
    tab.open(f"{site.url}/bokeh/sliders")
    tab.move_slider()
    tab.until_title("plain k=2")


def test_autoload_in_a_plain_page(live: Live, tab: Tab) -> None:
    """Bokeh's own server_document works with Flask's port."""
    site = live()
    tab.page.goto(f"{site.url}/stats")
    script = server_document(f"{site.url}/bokeh/sliders")
    tab.page.set_content(f"<body>{script}</body>")
    tab.page.wait_for_function("window.Bokeh && Bokeh.documents.length == 1")
    tab.move_slider()
    tab.until_title("plain k=2")


@pytest.mark.parametrize("page", ["/mine", "/hook"])
def test_a_broken_socket_reconnects(live: Live, tab: Tab, page: str) -> None:
    """A page whose token has expired comes back to its session when its socket breaks."""
    site = live(config={"BOKEH_TOKEN_EXPIRATION": 1})
    tab.open(f"{site.url}{page}?user=ann")
    tab.move_slider(3)
    tab.page.wait_for_function("Bokeh.documents[0].get_model_by_name('k').value == 4")
    changed = eventually(lambda: "k=4" in tab.title() and tab.title(), "the callback")
    tab.page.wait_for_timeout(1500)  # the token expires; the session lives
    site.post("/cut")
    eventually(lambda: site.log.count("/ws?user=ann") == 2, "the second socket")
    tab.until_message("Reconnected websocket")
    tab.move_slider()
    tab.until_title(changed.replace("k=4", "k=5"))


def test_a_hooks_session_is_rebuilt_after_a_restart(live: Live, tab: Tab, port: int) -> None:
    """When the server restarts, a page with a customize hook gets its document again."""
    first = live(port=port)
    tab.open(f"{first.url}/hook?user=ann")
    tab.move_slider(3)
    tab.until_title("for ann 2024 Lyon k=4")
    first.stop()
    live(port=port)
    tab.until_message("Reconnected websocket")
    tab.until_title("for ann 2024 Lyon")
    tab.move_slider()
    tab.until_title("for ann 2024 Lyon k=2")
    tab.forgive_the_network()


def test_the_state_of_a_session_with_the_query_of_the_page(live: Live, tab: Tab) -> None:
    """A page that can't reconnect asks for its state as its WebSocket does, and waits."""
    site = live()
    blocked: list[bool] = []
    tab.page.route_web_socket(
        "**/ws*", lambda socket: socket.close() if blocked else socket.connect_to_server()
    )
    tab.open(f"{site.url}/hook?user=ann")
    blocked.append(True)
    site.post("/cut")
    asked = '"GET /bokeh/hooked/ws?user=ann HTTP/1.1" 204'
    tab.page.wait_for_event("requestfinished", lambda one: "/ws?user=ann" in one.url)
    eventually(lambda: asked in site.log, "the question")
    assert site.log.count("GET /hook?user=ann") == 1
    tab.forgive_the_network()


def test_a_page_that_is_empty_at_first(live: Live, tab: Tab) -> None:
    """An application's page follows its document, also one that gets its plots later."""
    tab.open(f"{live().url}/bokeh/late")
    tab.until_title("plain")
    tab.move_slider()
    tab.until_title("plain k=2")


def test_a_plot_that_was_removed(live: Live, tab: Tab) -> None:
    """When the session of a plot ends that the page shows no more, the page stays as it is."""
    site = live()
    tab.open(f"{site.url}/hook?user=ann")
    tab.page.evaluate("document.querySelector('.flask-bokeh').remove(); window.typed = 'kept'")
    assert site.post("/close") == "1"
    tab.until_message("permanently disconnected")
    assert tab.page.evaluate("window.typed") == "kept"
    tab.forgive_the_network()


def test_a_long_outage(live: Live, tab: Tab) -> None:
    """BokehJS gives up after half a minute; the page goes on, and comes back by itself."""
    site = live()
    blocked: list[bool] = []
    tab.page.route_web_socket(
        "**/ws*", lambda socket: socket.close() if blocked else socket.connect_to_server()
    )
    tab.page.clock.install()
    tab.open(f"{site.url}/hook?user=ann")
    blocked.append(True)
    site.post("/cut")

    def seen(text: str, times: int) -> bool:
        tab.page.clock.run_for(20_000)
        return sum(text in message for message in tab.messages) >= times

    eventually(lambda: seen("Lost websocket", 6), "BokehJS to give up")
    blocked.clear()
    eventually(lambda: seen("Reconnected websocket", 1), "the page to come back")
    tab.move_slider()
    tab.until_title("for ann 2024 Lyon k=2")
    tab.forgive_the_network()


def test_a_port_renews_no_token(live: Live, tab: Tab, port: int) -> None:
    """A page whose token has expired reloads itself, if plots have a port of their own."""
    config = {
        "BOKEH_TRANSPORT": "port",
        "BOKEH_TOKEN_EXPIRATION": 3,
        "BOKEH_ALLOW_WS_ORIGIN": [f"http://127.0.0.1:{port}"],
    }
    site = live(config=config, port=port, clean=False)
    tab.open(f"{site.url}/hook?user=ann")
    tab.page.evaluate("window.before = true")
    tab.page.wait_for_timeout(4300)  # the token ends
    site.post("/cut")
    tab.page.wait_for_function("window.before === undefined", timeout=60_000)
    tab.until_title("for ann 2024 Lyon")
    tab.forgive_the_network()


def test_a_pulled_session_is_not_replaced_after_a_restart(live: Live, tab: Tab, port: int) -> None:
    """When the server restarts, a pulled session is refused, not replaced by a plain one."""
    first = live(port=port, clean=False)
    tab.open(f"{first.url}/mine?user=ann")
    first.stop()
    again = live(port=port, clean=False)
    # The page reloads itself, once, and so pulls a session from the new server.
    eventually(lambda: again.stats()["sockets"] == 1, "the page to come back", seconds=20)
    tab.until_title("made for ann")
    tab.move_slider()
    tab.until_title("made for ann k=2")
    assert again.log.count("GET /mine?user=ann") == 1
    tab.forgive_the_network()


def test_a_page_reloads_itself_only_once(live: Live, tab: Tab) -> None:
    """A session that ends again and again becomes a sentence, not a loop of reloads."""
    site = live(config={"BOKEH_TOKEN_MAX_AGE": 0.001}, clean=False)
    tab.page.goto(f"{site.url}/hook?user=ann")
    box = tab.page.get_by_role("alert")
    box.wait_for(timeout=60_000)
    assert box.inner_text() == "This plot has ended. Reload the page."
    assert site.log.count("GET /hook?user=ann") == 2
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_a_tornado_program(live: Live, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a Tornado program the plots share its loop; edits and callbacks work; it ends clean."""
    monkeypatch.setitem(COMMANDS, "tornado", ["docs/tornado_program.py"])
    site = live("tornado")
    tab.open(site.url)
    model = "Bokeh.documents[0].get_model_by_name"
    assert tab.page.evaluate(f"{model}('k').title") == "on Tornado's loop"
    tab.move_slider(2)
    tab.page.wait_for_function(f"{model}('data').data['x'].length == 3")
    tab.forgive("404")  # no favicon
    tab.page.close()
    assert site.stop() == 0
