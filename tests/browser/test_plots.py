"""Plots in a real browser: edits, callbacks, errors, outages."""

from __future__ import annotations

import pytest
from bokeh.embed import server_document

from ..support.browser import Tab
from ..support.servers import COMMANDS, Live, LiveServer
from ..support.waiting import eventually


@pytest.fixture
def site(module_live: Live) -> LiveServer:
    """A server for tests with users of their own, which need a clean log."""
    return module_live()


def test_several_sessions_share_a_page(site: LiveServer, tab: Tab) -> None:
    """A pulled session, one from a hook, and one root of a third share a page and BokehJS."""
    tab.open(f"{site.url}/many?user=sam", plots=3)
    titles = tab.page.evaluate(
        "Bokeh.documents.map(d => d.roots().map(r => (r.title ?? r.children[1].title).text))"
    )
    assert sorted(titles) == [["for sam  "], ["left", "right"], ["made for sam"]]
    assert tab.page.locator("script[src*='bokeh.min.js']").count() == 1
    shown = tab.page.locator(".bk-Figure").filter(visible=True)
    assert shown.count() == 3  # of four, one is hidden
    tab.move_slider()
    tab.until_title("made for sam k=2")


def test_error_is_shown_in_place_of_its_plot(live: Live, tab: Tab) -> None:
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


def test_traceback_is_shown_in_debug_mode(live: Live, tab: Tab) -> None:
    site = live(args=["--debug", "--no-reload"], clean=False)
    tab.open(f"{site.url}/broken", plots=2)
    box = tab.page.get_by_role("alert").first
    assert "LookupError: the data are gone" in box.inner_text()
    assert "in raises" in box.inner_text()


def test_application_has_a_page_of_its_own(site: LiveServer, tab: Tab) -> None:
    """An application with page=True has a page at its path below /bokeh."""
    tab.open(f"{site.url}/bokeh/sliders")
    tab.move_slider()
    tab.until_title("plain k=2")


def test_server_document_of_bokeh_shows_a_plot(site: LiveServer, tab: Tab) -> None:
    """The script of Bokeh's own server_document works with Flask's port."""
    tab.page.goto(f"{site.url}/stats")
    script = server_document(f"{site.url}/bokeh/sliders")
    tab.page.set_content(f"<body>{script}</body>")
    tab.page.wait_for_function("window.Bokeh && Bokeh.documents.length == 1")
    tab.move_slider()
    tab.until_title("plain k=2")


@pytest.mark.parametrize("page", ["/mine", "/hook"])
def test_page_with_an_expired_token_reconnects(module_live: Live, tab: Tab, page: str) -> None:
    """A page whose token has expired comes back to its session when its socket breaks."""
    site = module_live(config={"BOKEH_TOKEN_EXPIRATION": 1})
    user = f"user-of-{page[1:]}"
    tab.open(f"{site.url}{page}?user={user}")
    tab.move_slider(3)
    tab.page.wait_for_function("Bokeh.documents[0].get_model_by_name('k').value == 4")
    changed = eventually(lambda: "k=4" in tab.title() and tab.title(), "the callback")
    tab.page.wait_for_timeout(1500)  # the token expires; the session lives
    site.post("/cut")
    eventually(lambda: site.log.count(f"/ws?user={user}") == 2, "the second socket")
    tab.until_message("Reconnected websocket")
    tab.move_slider()
    tab.until_title(changed.replace("k=4", "k=5"))


def test_hooked_session_is_rebuilt_after_a_restart(live: Live, tab: Tab, port: int) -> None:
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


def test_session_status_is_requested_with_the_query_of_the_page(site: LiveServer, tab: Tab) -> None:
    """A page that can't reconnect requests the status of its session, and does not reload."""
    blocked: list[bool] = []
    tab.page.route_web_socket(
        "**/ws*", lambda socket: socket.close() if blocked else socket.connect_to_server()
    )
    tab.open(f"{site.url}/hook?user=dan")
    blocked.append(True)
    site.post("/cut")
    asked = '"GET /bokeh/hooked/ws?user=dan HTTP/1.1" 204'
    tab.page.wait_for_event("requestfinished", lambda one: "/ws?user=dan" in one.url)
    eventually(lambda: asked in site.log, "the request")
    assert site.log.count("GET /hook?user=dan") == 1
    tab.forgive_the_network()


def test_plot_added_to_an_empty_document_is_shown(site: LiveServer, tab: Tab) -> None:
    """The page of an application shows plots that its document gets later."""
    tab.open(f"{site.url}/bokeh/late")
    tab.until_title("plain")
    tab.move_slider()
    tab.until_title("plain k=2")


def test_page_that_removed_its_plot_is_not_reloaded(site: LiveServer, tab: Tab) -> None:
    """A page does not reload when the session of a plot ends that it has removed."""
    tab.open(f"{site.url}/hook?user=ann")
    tab.page.evaluate("document.querySelector('.flask-bokeh').remove(); window.typed = 'kept'")
    assert site.post("/close") == "1"  # no other test of this server is ann
    tab.until_message("permanently disconnected")
    assert tab.page.evaluate("window.typed") == "kept"
    tab.forgive_the_network()


def test_page_reconnects_after_a_long_outage(site: LiveServer, fresh_tab: Tab) -> None:
    """A page reconnects by itself even after BokehJS has given up."""
    blocked: list[bool] = []
    fresh_tab.page.route_web_socket(
        "**/ws*", lambda socket: socket.close() if blocked else socket.connect_to_server()
    )
    fresh_tab.page.clock.install()
    fresh_tab.open(f"{site.url}/hook?user=eve")
    blocked.append(True)
    site.post("/cut")

    def seen(text: str, times: int) -> bool:
        fresh_tab.page.clock.run_for(20_000)
        return sum(text in message for message in fresh_tab.messages) >= times

    eventually(lambda: seen("Lost websocket", 6), "BokehJS to give up")
    blocked.clear()
    eventually(lambda: seen("Reconnected websocket", 1), "the page to come back")
    fresh_tab.move_slider()
    fresh_tab.until_title("for eve 2024 Lyon k=2")
    fresh_tab.forgive_the_network()


def test_page_on_a_port_of_its_own_reloads_with_an_expired_token(
    live: Live, tab: Tab, port: int
) -> None:
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
    tab.page.wait_for_function("window.before === undefined")
    tab.until_title("for ann 2024 Lyon")
    tab.forgive_the_network()


def test_pulled_session_is_pulled_again_after_a_restart(live: Live, tab: Tab, port: int) -> None:
    """After a restart the page of a pulled session reloads; it is not shown a plain session."""
    first = live(port=port, clean=False)
    tab.open(f"{first.url}/mine?user=ann")
    first.stop()
    again = live(port=port, clean=False)
    # The page reloads itself, once, and so pulls a session from the new server.
    eventually(lambda: again.stats()["sockets"] == 1, "the page to come back")
    tab.until_title("made for ann")
    tab.move_slider()
    tab.until_title("made for ann k=2")
    assert again.log.count("GET /mine?user=ann") == 1
    tab.forgive_the_network()


def test_page_reloads_itself_only_once(live: Live, tab: Tab) -> None:
    """A page whose session ends again after the reload shows a message."""
    site = live(config={"BOKEH_TOKEN_MAX_AGE": 0.001}, clean=False)
    tab.page.goto(f"{site.url}/hook?user=ann")
    box = tab.page.get_by_role("alert")
    box.wait_for()
    assert box.inner_text() == "This plot has ended. Reload the page."
    assert site.log.count("GET /hook?user=ann") == 2
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_plots_work_in_a_tornado_program(
    live: Live, fresh_tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plots share the loop of a Tornado program, which stops with exit code 0."""
    monkeypatch.setitem(COMMANDS, "tornado", ["docs/tornado_program.py"])
    site = live("tornado")
    fresh_tab.open(site.url)
    model = "Bokeh.documents[0].get_model_by_name"
    assert fresh_tab.page.evaluate(f"{model}('k').title") == "on Tornado's loop"
    fresh_tab.move_slider(2)
    fresh_tab.page.wait_for_function(f"{model}('data').data['x'].length == 3")
    fresh_tab.forgive("404")  # no favicon
    fresh_tab.page.close()
    assert site.stop() == 0
