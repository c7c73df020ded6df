"""Clients learn nothing about the server from errors, and logs hold no text of visitors."""

from __future__ import annotations

import json
import urllib.error
from typing import Any

import pytest

from ..support.browser import Tab
from ..support.messages import changed, clicked
from ..support.servers import Live, LiveServer
from ..support.sockets import Socket, connect
from ..support.waiting import eventually

APP = "tests.live_apps.failing:create_app()"


def opened(site: LiveServer, user: str = "ann") -> Socket:
    """Open a session of a user."""
    return connect(site, "/failing", site.token(f"/?user={user}"), query=f"user={user}")


@pytest.fixture(scope="module")
def site(module_live: Live) -> LiveServer:
    """A site whose log holds failures."""
    return module_live("gunicorn-sync", APP, clean=False)


def records(site: LiveServer, text: str, user: str) -> int:
    """Return the number of log lines that hold a text and name a user."""
    return sum(text in line and f"(user '{user}'" in line for line in site.log.splitlines())


def test_client_gets_only_a_reference_to_a_callback_error(site: LiveServer) -> None:
    """The browser gets only a reference; the log has it with the error, application and user."""
    with opened(site) as client:
        answer = client.change(clicked(client.ids()["button"]))
        assert answer["type"] == "ERROR"
        assert answer["traceback"] is None
        (message,) = answer["before"]
        reference = message["events"][0]["msg_data"]["reference"]
        assert reference in answer["text"]
        for secret in ("OURS-ALONE", "failing.py", "ValueError", "Traceback"):
            assert secret not in json.dumps(answer)
        assert client.change()["type"] == "OK"  # the session is still usable

    def logged() -> str:
        line, _, rest = site.log.partition(reference)
        return f"{line.splitlines()[-1]}{rest}"

    error = "ValueError: INSERT INTO salaries VALUES ('OURS-ALONE')"
    eventually(lambda: reference in site.log and error in logged(), "the error in the log")
    assert "A callback of /failing (user 'ann', from 127.0.0.1) failed" in logged().splitlines()[0]
    assert "in click" in logged()


def test_typed_values_are_not_logged(site: LiveServer) -> None:
    """No log line contains a typed password, but the failing source line is logged."""
    before = len(site.log)
    with opened(site, "bob") as client:
        ids = client.ids()
        for model, new in [
            ("password", "hunter2"),
            ("password", ["hunter2"]),
            ("password", {"type": "map", "entries": [["hunter2", "hunter2"]]}),
            ("password", "hun'ter2\nhunter2"),
            ("password", "hunter2" * 200_000),
            ("note", "hunter2"),
            ("slider", "hunter2"),
        ]:
            answer = client.change(changed(ids[model], new))
            assert answer["type"] == "ERROR", (model, new)
            assert "hunter2" not in json.dumps(answer)
        client.change(changed(ids["later"], "hunter2"))
        site.until_logged("nobody waits for this")
    site.until_logged("PermissionError: wrong password: '<sent>'")
    site.until_logged("this line is to be found")
    site.until_logged("slider.value = new")
    eventually(lambda: records(site, "[reference ", "bob") == 7, "seven records")
    assert "hunter2" not in site.log
    assert "ter2" not in site.log
    assert len(site.log) - before < 60_000


def test_texts_in_invalid_messages_are_not_logged(site: LiveServer) -> None:
    """Client-chosen headers, types and names appear in neither the log nor the close reason."""
    before = len(site.log)
    secret = "hunter2\nFORGED"
    messages: list[list[dict[str, Any]]] = [
        [{"no": secret}, {}, {}],
        [{"msgid": "1", "msgtype": secret}, {}, {}],
        [{"msgid": "1", "msgtype": "ACK", "reqid": secret}, {}, {"events": [secret]}],
        [{"msgid": "1", "msgtype": "PATCH-DOC", "num_buffers": 1}, {}, {}, {"id": 1, secret: 2}],
    ]
    for parts in messages:
        with opened(site, "carla") as client:
            client.send(*parts)
            code, reason = client.close_reason()
            assert code in (1002, 1011)
            assert "hunter2" not in reason
            assert "Error" not in reason
    with opened(site, "carla") as client:
        slider = client.ids()["slider"]
        assert client.change(changed(slider, 1, attr="x" * 500_000))["type"] == "OK"
        assert client.change({"kind": secret})["type"] == "ERROR"
        assert client.change(changed(secret, 1))["type"] == "ERROR"
    eventually(
        lambda: records(site, "Closed a WebSocket of /failing", "carla") == 4, "four records"
    )
    assert "hunter2" not in site.log
    assert "FORGED" not in site.log
    assert len(site.log) - before < 60_000


def test_page_shows_the_reference_of_a_callback_error(site: LiveServer, tab: Tab) -> None:
    """A notice beside the plot shows the reference, and the plot stays usable."""
    tab.open(f"{site.url}/?user=ann")
    notice = tab.page.locator(".flask-bokeh > .flask-bokeh-note[role=alert]")
    references: set[str] = set()
    for _ in range(2):
        tab.page.get_by_text("fail", exact=True).click()
        tab.page.wait_for_function(
            "known => { const box = document.querySelector('.flask-bokeh-note');"
            "return box && !known.includes(box.textContent) }",
            arg=list(references),
        )
        references.add(notice.inner_text())
        assert notice.inner_text().startswith("Something went wrong here. The reference is ")
    assert len(references) == 2
    tab.until_message("The server has failed at this; the error is logged as")
    assert tab.page.get_by_text("fail", exact=True).is_visible()
    assert not any("OURS-ALONE" in message for message in tab.messages)
    tab.forgive("The server has failed at this")


def test_debug_mode_shows_the_error(live: Live, tab: Tab) -> None:
    """Debug mode shows the traceback on the page and in the console."""
    site = live("werkzeug", APP, args=["--debug", "--no-reload"], clean=False)
    tab.open(f"{site.url}/?user=ann")
    tab.page.get_by_text("fail", exact=True).click()
    notice = tab.page.locator(".flask-bokeh-note")
    notice.wait_for()
    assert "in click" in notice.inner_text()
    assert "ValueError: INSERT INTO salaries VALUES ('OURS-ALONE')" in notice.inner_text()
    tab.until_message("OURS-ALONE")
    tab.forgive("OURS-ALONE")


def test_flask_bokeh_run_escapes_line_ends_in_its_log(live: Live) -> None:
    """Line ends in client data are escaped in the records of every logger."""
    site = live("flask-bokeh-run", APP, clean=False)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        site.get("/raises?what=a%0D%0A%5B2026%5D%20ERROR%20FORGED%1B%5B31m")
    site.until_logged("ValueError: a\\r\\n[2026] ERROR FORGED\\x1b[31m")
    assert "WARNING told a\\r\\n[2026] ERROR FORGED" in site.log
    assert "\x1b" not in site.log
    assert not [line for line in site.log.splitlines() if line.startswith("[2026] ")]
