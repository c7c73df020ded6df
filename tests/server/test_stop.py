"""Stop the server of a process: time-outs, errors, blocked loops."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from bokeh.application import Application
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from flask import Flask

from flask_bokeh import FlaskBokeh, LoopThreadError
from flask_bokeh.bokeh_api.v3.server import _BokehServer
from flask_bokeh.hijack.upgrade_server import UpgradeServer
from flask_bokeh.runtime.watchdog import Watchdog
from flask_bokeh.workers.listener import TransferListener

from ..support.html import tokens_in
from ..support.lifecycle import descriptors
from ..support.waiting import eventually


def test_stop_ends_within_its_timeout(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that never ends is abandoned after BOKEH_STOP_TIMEOUT, and this is logged."""

    class Never(LifecycleHandler):
        def modify_document(self, doc: Document) -> None: ...

        async def on_session_destroyed(self, session_context: object) -> None:
            await asyncio.Event().wait()

    app.config["BOKEH_STOP_TIMEOUT"] = 0.5
    bokeh.add_application("/x", Application(Never()))
    bokeh.init_app(app)
    with app.test_request_context():
        with bokeh.pull_session("/x"):
            pass
        before = time.monotonic()
        bokeh.stop()
    assert time.monotonic() - before < 20
    assert "Sessions and hooks did not end within" in caplog.text


@pytest.mark.parametrize(
    "step",
    ["_BokehServer.stop", "TransferListener.close", "Watchdog.stop", "UpgradeServer.close_sockets"],
)
def test_steps_of_a_stop_run_after_one_that_raises(
    app: Flask,
    bokeh: FlaskBokeh,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """The error is logged; no thread, descriptor or file is left."""
    owner, _, method = step.partition(".")
    cls = {one.__name__: one for one in (_BokehServer, TransferListener, Watchdog, UpgradeServer)}[
        owner
    ]
    original = getattr(cls, method)

    async def stop_and_fail(*args: object) -> None:
        await original(*args)
        raise LookupError(step)

    def close_and_fail(*args: object) -> None:
        original(*args)
        raise LookupError(step)

    is_async = inspect.iscoroutinefunction(original)
    monkeypatch.setattr(cls, method, stop_and_fail if is_async else close_and_fail)
    bokeh.add_application("/x", lambda doc: None)
    before = descriptors()
    with tempfile.TemporaryDirectory() as folder, app.test_request_context():
        app.config["BOKEH_RUNTIME_DIR"] = folder
        bokeh.init_app(app)
        with bokeh.pull_session("/x"):
            pass
        assert len(list(Path(folder).glob("*/*"))) == 1
        bokeh.stop()
        assert list(Path(folder).glob("*/*")) == []
    assert f"LookupError: {step}" in caplog.text
    assert descriptors() <= before
    assert {thread.name for thread in threading.enumerate()} == {"MainThread"}


def test_stop_on_the_loop_thread_is_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    """The server keeps running afterwards."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.start()
        state = app.extensions["bokeh"]

        async def stop() -> None:
            state.stop()

        with pytest.raises(LoopThreadError):
            state.servers.get().loop.call(stop, what="a test", timeout=60)
        with bokeh.pull_session("/x"):
            pass


def test_sys_exit_in_a_callback_does_not_stop_the_server(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """sys.exit() ends the callback only."""
    done = threading.Event()

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        def leave() -> None:
            done.set()
            sys.exit(3)

        doc.add_next_tick_callback(leave)

    bokeh.init_app(app)
    with app.test_request_context():
        for _ in range(2):
            done.clear()
            with bokeh.pull_session("/x"):
                pass
            assert done.wait(60)
    eventually(lambda: "A callback called sys.exit(3); plots go on." in caplog.text, "the log")


def test_server_can_be_started_and_stopped_repeatedly(app: Flask, bokeh: FlaskBokeh) -> None:
    """start() and stop() are idempotent."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.stop()
        for _ in range(3):
            bokeh.start()
            bokeh.start()
            with bokeh.pull_session("/x"):
                pass
            bokeh.stop()
            bokeh.stop()


def test_waits_for_a_blocked_loop_are_bounded(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors and the log say that an application may be blocking the loop."""
    app.config.update(BOKEH_PULL_TIMEOUT=0.3, BOKEH_STOP_TIMEOUT=0.5)
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.start()
        server = app.extensions["bokeh"].servers.get()
        gate = threading.Event()
        server.loop.io_loop.add_callback(gate.wait, 60)
        with pytest.raises(TimeoutError, match="IOLoop may be blocked"), bokeh.pull_session("/x"):
            pass
        thread = next(one for one in threading.enumerate() if one.name == "flask_bokeh")
        before = time.monotonic()
        bokeh.stop()
        assert time.monotonic() - before < 30
        assert "blocked by an application" in caplog.text
        gate.set()
        thread.join(60)
        for other in threading.enumerate():
            if "flask_bokeh" in other.name:
                other.join(60)


@pytest.mark.skipif(
    not hasattr(BokehTornado, "_require_running"),
    reason="before 3.10, Bokeh did not refuse new sessions then",
)
def test_new_websocket_is_closed_while_the_server_stops(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """A WebSocket that has just been opened is closed with 1001, and no error is logged."""
    websocket = pytest.importorskip("websocket")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        (token,) = tokens_in(str(bokeh.server_document("/x")))
        server = app.extensions["bokeh"].servers.get()
        server.bokeh.tornado._stopping = True
        client = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/x/ws",
            subprotocols=["bokeh", token],
            origin=f"http://127.0.0.1:{server.port}",
            timeout=60,
        )
        assert client.recv_data(control_frame=True) == (8, b"\x03\xe9")
        client.shutdown()
        server.bokeh.tornado._stopping = False
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_threading_has_its_private_hook_at_exit() -> None:
    """threading._register_atexit runs functions before executors are closed."""
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]
