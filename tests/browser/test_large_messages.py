"""Messages from a browser that are too large."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..support.browser import Tab
from ..support.reloads import RequestCounts
from ..support.servers import Live
from ..support.waiting import eventually

APP = "tests.live_apps.reloads:create_app()"
CONFIG = {"BOKEH_MAX_MESSAGE_SIZE": 1_000_000}


TOO_LARGE = "What was sent to this plot was too large, and has not arrived."


@pytest.mark.parametrize(
    "server", ["werkzeug", "gunicorn-gevent", "flask-bokeh-run", "werkzeug-tls"]
)
def test_upload_over_the_limit_is_a_message_in_the_page(
    module_live: Live, tab: Tab, tmp_path: Path, server: str
) -> None:
    """The page shows a message once, is not reloaded, and its plot reconnects."""
    site = module_live(server, APP, config=CONFIG, clean=False)
    requests, logged = RequestCounts(site), len(site.log)
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
    tab.page.get_by_text("4 letters").wait_for()
    reason = "larger than BOKEH_MAX_MESSAGE_SIZE allows"
    eventually(lambda: reason in site.log[logged:], "the reason in the log")
    assert requests["GET /show/upload"] == 1
    tab.forgive_the_network()


def test_page_that_repeats_a_large_message_stops_reconnecting(module_live: Live, tab: Tab) -> None:
    """A page that sends a message over the limit after each reconnect stops after five sockets."""
    site = module_live("werkzeug", APP, config=CONFIG, clean=False)
    requests = RequestCounts(site)
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
    box.wait_for()
    assert requests["GET /show/source"] == 1
    assert site.log.count("GET /bokeh/source/ws") == 5
    tab.forgive_the_network()
