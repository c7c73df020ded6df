"""Messages from a browser that are too large."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..support.browser import Tab
from ..support.reloads import requests_of
from ..support.servers import Live

APP = "tests.live_apps.reloads:create_app()"


TOO_LARGE = "What was sent to this plot was too large, and has not arrived."


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
    tab.page.get_by_text("4 letters").wait_for(timeout=60_000)
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
    box.wait_for(timeout=60_000)
    assert requests_of(site)["GET /show/source"] == 1
    assert site.log.count("GET /bokeh/source/ws") == 5
    tab.forgive_the_network()
