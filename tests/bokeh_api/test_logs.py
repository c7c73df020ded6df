"""Log lines and descriptions of exceptions."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from flask import Flask

from flask_bokeh import ArgumentsError, FlaskBokeh, HandoffError, RegistrationError
from flask_bokeh.errors import PUBLIC
from flask_bokeh.log_redaction import LineFormatter, describe, handling_a_message, printable


def test_bokehs_logs_are_shortened_in_our_messages_only(app: Flask, bokeh: FlaskBokeh) -> None:
    """Bokeh's loggers are changed only while this package handles a message."""
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


def chained_error(text: str) -> Exception:
    try:
        try:
            raise KeyError(f"first {text}")
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError as error:
        return error


def test_describe_names_every_exception_of_a_chain() -> None:
    """Causes and members of groups are described on lines of their own."""
    text = describe(chained_error("one\ntwo" + "x" * 5000), {"events": []})
    assert "which led to:" in text
    assert "KeyError: 'first one\\ntwo" in text
    assert "ValueError: one\\ntwoxxx" in text
    assert "raise ValueError(text) from error" in text
    assert len(text) < 4000
    group = describe(ExceptionGroup("several", [chained_error("a"), chained_error("b")]))
    assert "ExceptionGroup: several" in group
    assert group.count("in which:") == 2


def test_text_of_an_exception_hides_values_of_the_message() -> None:
    """The text is withheld if the message has too many values to search for."""
    content = {"events": [{"kind": "ModelChanged", "new": [f"v{n}" for n in range(5000)]}]}
    assert "v4999" not in describe(chained_error("v4999"), content)
    assert "v1" not in describe(chained_error("v1"), {"events": [{"new": "v1"}]})


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_exception_without_a_text_is_described() -> None:
    """str() of an exception may raise."""
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
def test_log_line_is_escaped_and_indented(
    message: str, arguments: tuple[Any, ...], line: str
) -> None:
    """Arguments stay on their line, other lines are indented, control characters escaped."""
    record = logging.LogRecord("x", logging.INFO, "", 0, message, arguments, None)
    assert LineFormatter("%(message)s").format(record) == line


def test_shortened_text_tells_its_whole_length() -> None:
    assert printable("x" * 300, 10) == "xxxxxxxxxx... (300 in all)"


class Secret:
    def __repr__(self) -> str:
        return "Secret('hunter2')"


def test_errors_name_types_and_no_values(app: Flask, bokeh: FlaskBokeh) -> None:
    """Errors about values of the site do not contain the values."""
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
def test_public_message_names_no_internals(status: int) -> None:
    """The message for a status contains no setting, number or file."""
    error = HandoffError("The descriptor 7 is one of the last; see BOKEH_MAX_SESSIONS.", status)
    assert error.public == PUBLIC[status]
    assert not re.search(r"\d|BOKEH|_|/", error.public.replace("WebSocket", ""))


def test_refusals_name_settings_in_debug_mode_only(app: Flask, bokeh: FlaskBokeh) -> None:
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
