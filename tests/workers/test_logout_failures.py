"""Logouts when a worker fails or does not answer."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import Div
from flask import Flask

from flask_bokeh import FlaskBokeh, SessionEndedError, SessionsNotEndedError
from flask_bokeh.server.closing import SessionCloser

from ..support.waiting import eventually
from ..support.workers import close, living, pull


class BrokenError(Exception):
    """Error raised by these tests."""


def breaks(*_: Any, **__: Any) -> Any:
    raise BrokenError


def test_close_sessions_raises_for_an_error_in_this_worker(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """close_sessions() raises SessionsNotEndedError for one session and closes the others."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    pull(app, bokeh)
    pull(app, bokeh)
    calls: list[int] = []

    def breaks_once(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BrokenError

    monkeypatch.setattr("flask_bokeh.server.local_closing.close_websockets", breaks_once)
    with pytest.raises(SessionsNotEndedError, match="in this process: BrokenError"):
        close(app, bokeh)
    eventually(lambda: living(app) == 0, "the end of both")  # nobody was connected


def test_error_after_close_sessions_returned_is_logged(
    app: Flask,
    bokeh: FlaskBokeh,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error after close_sessions() has returned is logged."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    with app.test_request_context(), bokeh.pull_session("/x"):
        assert close(app, bokeh) == 1  # returns after a second: the document is in use
        monkeypatch.setattr("flask_bokeh.server.local_closing.close_websockets", breaks)
        eventually(lambda: "BrokenError" in caplog.text, "the log")
    assert "Sessions that should have been closed may live on" in caplog.text


def test_close_sessions_raises_for_an_error_in_another_worker(
    two: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """close_sessions() raises if another worker fails, and that worker logs the error."""
    (here, ours), (there, theirs) = two
    pull(there, theirs)
    monkeypatch.setattr("flask_bokeh.server.local_closing.close_websockets", breaks)
    with pytest.raises(SessionsNotEndedError, match="failed, and its log says why"):
        close(here, ours)
    assert "that another worker has asked to close may still be open" in caplog.text


def test_close_sessions_names_a_worker_that_does_not_answer(
    two: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """close_sessions() raises an error that names a worker that does not answer."""
    monkeypatch.setattr("flask_bokeh.workers.sender.TIMEOUT", 0.3)
    here, ours = two[0]
    folder = here.extensions["bokeh"].find_runtime_dir()
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(folder / "frozen-worker"))
        frozen.listen()
        with pytest.raises(SessionsNotEndedError, match="frozen-worker did not confirm within"):
            close(here, ours)


def test_session_that_takes_long_to_fill_ends_after_a_logout(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session whose user logs out while it is being filled ends once it exists."""
    go_on, begun = threading.Event(), threading.Event()
    shown: list[Document] = []

    def fill(doc: Document) -> None:
        begun.set()
        go_on.wait(60)
        doc.add_root(Div(text="secret"))
        shown.append(doc)

    monkeypatch.setattr("flask_bokeh.security.limits.WAIT", 0.2)
    app.config.update(BOKEH_STOP_TIMEOUT=0.1)
    bokeh.add_application("/x", fill)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    failures: list[Exception] = []

    def visit() -> None:
        try:
            pull(app, bokeh)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    visitor = threading.Thread(target=visit)
    visitor.start()
    assert begun.wait(60)
    with suppress(TimeoutError):  # Bokeh 3.9 fills documents on the loop
        close(app, bokeh)
    time.sleep(0.5)  # longer than a reservation waits for its session
    go_on.set()
    visitor.join(60)
    assert isinstance(failures[0].__cause__, SessionEndedError)
    with suppress(AttributeError):  # a document that has been destroyed has no roots
        assert shown[0].roots == []
    eventually(lambda: living(app) == 0, "the end")


def test_many_logouts_share_few_threads(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many logouts run on a few threads, which end with the server."""
    flask_login = pytest.importorskip("flask_login")
    user = flask_login.UserMixin()
    user.id = "ann"
    ran_on: list[threading.Thread] = []

    def note(*_: Any) -> None:
        ran_on.append(threading.current_thread())
        raise BrokenError  # a failed logout does not prevent the others

    monkeypatch.setattr(SessionCloser, "close", note)
    bokeh.init_app(app)
    flask_login.LoginManager(app).user_loader(lambda name: user)

    @app.get("/out")
    def out() -> str:
        flask_login.login_user(user)
        return str(flask_login.logout_user())

    client = app.test_client()
    for _ in range(30):
        client.get("/out").close()
    eventually(lambda: len(ran_on) == 30, "all logouts")
    assert len(set(ran_on)) <= 4
    with app.app_context():
        bokeh.stop()
    eventually(lambda: not any(thread.is_alive() for thread in ran_on), "the threads to end")
    client.get("/out").close()
    eventually(lambda: len(ran_on) == 31, "a logout after that")
    with app.app_context():
        bokeh.stop()
