"""What visitors are told of the server's inside, and the log of the visitors' secrets: nothing."""

from __future__ import annotations

import json
import logging
import re
import urllib.error
from typing import Any

import pytest
from flask import Flask

from flask_bokeh import ArgumentsError, FlaskBokeh, HandoffError, RegistrationError
from flask_bokeh.errors import PUBLIC
from flask_bokeh.log_text import LineFormatter, describe, handling_a_message, printable

from .conftest import Live, LiveServer, Tab, eventually
from .sockets import Socket, connect

APP = "tests.live_apps.failing:create_app()"


def changed(model: str, new: Any, attr: str = "value") -> dict[str, Any]:
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attr, "new": new}


def clicked(model: str) -> dict[str, Any]:
    values = {"type": "map", "entries": [["model", {"id": model}]]}
    event = {"type": "event", "name": "button_click", "values": values}
    return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}


def opened(site: LiveServer) -> Socket:
    return connect(site, "/failing", site.token("/?user=ann"), query="user=ann")


def test_a_callback_that_raises(live: Live) -> None:
    """The browser gets a reference; the log has it, the error, the application and the user."""
    site = live("gunicorn-sync", APP, clean=False)
    with opened(site) as client:
        answer = client.change(clicked(client.ids()["button"]))
        assert answer["type"] == "ERROR"
        assert answer["traceback"] is None
        (message,) = answer["before"]
        reference = message["events"][0]["msg_data"]["reference"]
        assert reference in answer["text"]
        for secret in ("OURS-ALONE", "failing.py", "ValueError", "Traceback"):
            assert secret not in json.dumps(answer)
        assert client.change()["type"] == "OK"  # the session lives
    site.until_logged("ValueError: INSERT INTO salaries VALUES ('OURS-ALONE')")
    line = next(line for line in site.log.splitlines() if reference in line)
    assert "A callback of /failing (user 'ann', from 127.0.0.1) failed" in line
    assert "in click" in site.log


def test_what_was_typed_is_not_logged(live: Live) -> None:
    """A password is in no log line, whether a callback or Bokeh raises; the failing line is."""
    site = live("gunicorn-sync", APP, clean=False)
    with opened(site) as client:
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
    eventually(lambda: site.log.count("[reference ") == 7, "all of them")
    assert "hunter2" not in site.log
    assert "ter2" not in site.log
    assert len(site.log) < 60_000


def test_messages_that_make_no_sense(live: Live) -> None:
    """Headers, types and names of a client's own are not in the log, nor in the close reason."""
    site = live("gunicorn-sync", APP, clean=False)
    secret = "hunter2\nFORGED"
    for parts in [
        [{"no": secret}, {}, {}],
        [{"msgid": "1", "msgtype": secret}, {}, {}],
        [{"msgid": "1", "msgtype": "ACK", "reqid": secret}, {}, {"events": [secret]}],
        [{"msgid": "1", "msgtype": "PATCH-DOC", "num_buffers": 1}, {}, {}, {"id": 1, secret: 2}],
    ]:
        with opened(site) as client:
            client.send(*parts)
            code, reason = client.close_reason()
            assert code in (1002, 1011)
            assert "hunter2" not in reason
            assert "Error" not in reason
    with opened(site) as client:
        slider = client.ids()["slider"]
        assert client.change(changed(slider, 1, attr="x" * 500_000))["type"] == "OK"
        assert client.change({"kind": secret})["type"] == "ERROR"
        assert client.change(changed(secret, 1))["type"] == "ERROR"
    eventually(lambda: site.log.count("Closed a WebSocket of /failing (user 'ann'") == 4, "four")
    assert "hunter2" not in site.log
    assert "FORGED" not in site.log
    assert len(site.log) < 60_000


def test_the_page_says_that_a_callback_failed(live: Live, tab: Tab) -> None:
    """A notice beside the plot gives the reference; the plot goes on."""
    site = live("gunicorn-sync", APP, clean=False)
    tab.open(f"{site.url}/?user=ann")
    notice = tab.page.locator(".flask-bokeh > .flask-bokeh-note[role=alert]")
    references = set()
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
    """A developer sees the traceback on the page and in the console."""
    site = live("werkzeug", APP, args=["--debug", "--no-reload"], clean=False)
    tab.open(f"{site.url}/?user=ann")
    tab.page.get_by_text("fail", exact=True).click()
    notice = tab.page.locator(".flask-bokeh-note")
    notice.wait_for()
    assert "in click" in notice.inner_text()
    assert "ValueError: INSERT INTO salaries VALUES ('OURS-ALONE')" in notice.inner_text()
    tab.until_message("OURS-ALONE")
    tab.forgive("OURS-ALONE")


def test_lines_of_flask_bokeh_run(live: Live) -> None:
    """A line end from outside makes no line of its own, in any logger's record."""
    site = live("flask-bokeh-run", APP, clean=False)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        site.get("/raises?what=a%0D%0A%5B2026%5D%20ERROR%20FORGED%1B%5B31m")
    site.until_logged("ValueError: a\\r\\n[2026] ERROR FORGED\\x1b[31m")
    assert "WARNING told a\\r\\n[2026] ERROR FORGED" in site.log
    assert "\x1b" not in site.log
    assert not [line for line in site.log.splitlines() if line.startswith("[2026] ")]


def test_other_bokeh_servers_log_as_ever(app: Flask, bokeh: FlaskBokeh) -> None:
    """Bokeh's loggers are left alone, but while we handle a message of our own."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    names = ["bokeh.server.views.ws", "bokeh.protocol", "bokeh.core.has_props"]

    def log() -> list[str]:
        seen.clear()
        for name in names:
            logging.getLogger(name).warning("%r and %s", "x" * 300, "y")
        return list(seen)

    whole = f"{'x' * 300!r} and y"
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        with app.app_context():
            bokeh.start()
            assert log() == [whole] * 3
            with handling_a_message():
                assert log() == [whole, f"'{'x' * 99}... (302 in all) and y"]
            assert log() == [whole] * 3
            bokeh.stop()
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)


def fail(text: str) -> BaseException:
    try:
        try:
            raise KeyError(f"first {text}")
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError as error:
        return error


def test_describe_an_exception() -> None:
    """The description has every exception's line and kind, on lines of their own."""
    text = describe(fail("one\ntwo" + "x" * 5000), {"events": []})
    assert "which led to:" in text
    assert "KeyError: 'first one\\ntwo" in text
    assert "ValueError: one\\ntwoxxx" in text
    assert "raise ValueError(text) from error" in text
    assert len(text) < 4000
    group = describe(ExceptionGroup("several", [fail("a"), fail("b")]))
    assert "ExceptionGroup: several" in group
    assert group.count("in which:") == 2


def test_an_exception_with_many_values() -> None:
    """If a message holds more values than can be searched for, the text is withheld."""
    content = {"events": [{"kind": "ModelChanged", "new": [f"v{n}" for n in range(5000)]}]}
    assert "v4999" not in describe(fail("v4999"), content)
    assert "v1" not in describe(fail("v1"), {"events": [{"new": "v1"}]})


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_exception_without_a_text() -> None:
    """An exception whose text can't be had is described all the same."""
    assert describe(Silent()).endswith("Silent: <no text>")


@pytest.mark.parametrize(
    ("message", "arguments", "line"),
    [
        ("%s %r %d", ("a\nb", "a\nb", 3), "a\\nb 'a\\nb' 3"),
        ("two\nlines", (), "two\n    lines"),
        ("\x1b[0m\x85\u2028", (), "\\x1b[0m\\x85\\u2028"),
        ("%(a)s", ({"a": "x"},), "x"),
        ("%.1f%%", (1.25,), "1.2%"),
    ],
)
def test_format_a_line(message: str, arguments: tuple[Any, ...], line: str) -> None:
    """Arguments stay on their line, other lines are indented, control characters escaped."""
    record = logging.LogRecord("x", logging.INFO, "", 0, message, arguments, None)
    assert LineFormatter("%(message)s").format(record) == line


def test_shorten_a_text() -> None:
    """A text that is too long says how long it was."""
    assert printable("x" * 300, 10) == "xxxxxxxxxx... (300 in all)"


class Secret:
    def __repr__(self) -> str:
        return "Secret('hunter2')"


def test_errors_name_kinds(app: Flask, bokeh: FlaskBokeh) -> None:
    """Errors about what the site gave say of which type it is, and not what is in it."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.guard("/x")(Secret)
    users: list[Any] = [None]
    bokeh.user_loader(lambda: users[0])
    bokeh.init_app(app)
    arguments: list[dict[str, Any]] = [
        {"arguments": {"a": Secret()}},
        {"arguments": {"a": ["hunter2", Secret()]}},
        {"data": {"a": ("hunter2",)}},
        {"data": {"a": Secret()}},
        {"data": {"a": float("nan"), "b": "hunter2"}},
    ]
    with app.test_request_context():
        for keywords in arguments:
            with pytest.raises(ArgumentsError, match="'a'") as caught:
                bokeh.server_document("/x", **keywords)
            assert "hunter2" not in str(caught.value)
        users[0] = Secret()
        with pytest.raises(TypeError, match="returned a value of type Secret") as failed:
            bokeh.server_document("/x")
        assert "hunter2" not in str(failed.value)
        users[0] = None
        with pytest.raises(TypeError, match="guard Secret returned a value of type Secret"):
            bokeh.server_document("/x")
    with pytest.raises(RegistrationError, match="is a value of type dict"):
        FlaskBokeh().add_application("/y", {"password": "hunter2"})  # type: ignore[arg-type]


@pytest.mark.parametrize("status", sorted(PUBLIC))
def test_what_clients_are_told(status: int) -> None:
    """The sentence for a status names no setting, number or file."""
    error = HandoffError("The descriptor 7 is one of the last; see BOKEH_MAX_SESSIONS.", status)
    assert error.public == PUBLIC[status]
    assert not re.search(r"\d|BOKEH|_|/", error.public.replace("WebSocket", ""))


def test_refusals_tell_no_settings(app: Flask, bokeh: FlaskBokeh) -> None:
    """Answers of the blueprint name a setting in debug mode only."""
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    client = app.test_client()
    foreign = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    for path, status, headers in [
        ("/bokeh/x/autoload.js?bokeh-autoload-element=e", 403, foreign),
        (f"/bokeh/x?a={'x' * 3000}", 414, {}),
        ("/bokeh/x/ws", 403, {"Bokeh-Session-Token": "x"}),
    ]:
        app.debug = False
        answer = client.get(path, headers=headers)
        assert answer.status_code == status
        assert "BOKEH_" not in answer.text
        assert "signature" not in answer.text
        app.debug = True
        told = client.get(path, headers=headers).text
        assert "BOKEH_" in told or "signature" in told
