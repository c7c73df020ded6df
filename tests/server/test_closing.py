"""close_sessions() from threads and on the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh, LoopThreadError, WaitTimeoutError
from flask_bokeh.runtime.loop import ServerLoop
from flask_bokeh.server.local_closing import LocalClosing

from ..support.waiting import eventually


def test_close_sessions_has_a_timeout_on_a_blocked_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """The sessions end when the loop is free again."""
    app.config["BOKEH_STOP_TIMEOUT"] = 0.2
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    free = threading.Event()

    async def block() -> None:
        free.wait(60)

    with app.test_request_context():
        with bokeh.pull_session("/x"):
            pass
        server = state.servers.get()
        server.loop.submit(block)
        with pytest.raises(WaitTimeoutError, match="a user's sessions to end"):
            bokeh.close_sessions(user="ann")
        assert len(server.bokeh.get_sessions()) == 1
        free.set()
        eventually(lambda: not server.bokeh.get_sessions(), "the end")
        assert bokeh.close_sessions(user="ann") == 0


def test_close_sessions_on_the_loop_is_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    """In a callback of Bokeh it would wait for itself."""
    bokeh.init_app(app)
    server = app.extensions["bokeh"].servers.get()

    async def on_the_loop() -> None:
        with app.app_context():
            bokeh.close_sessions(user="ann")

    with pytest.raises(LoopThreadError, match="Closing a user's sessions blocks"):
        server.loop.call(on_the_loop, what="a test", timeout=60)


def test_closing_ends_when_the_server_stops() -> None:
    """The sessions end with the server, so wait() raises no error."""

    class Closer:
        async def close(self, reservations: object) -> None:
            begun.set()
            await asyncio.sleep(60)

    begun = threading.Event()
    loop = ServerLoop()
    loop.start(30)
    closer: Any = Closer()
    closing = LocalClosing(loop, closer, [], 0)
    assert begun.wait(60)
    assert loop.stop(30)
    closing.wait(30)
