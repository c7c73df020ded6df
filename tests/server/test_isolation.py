"""Separation of requests, documents and threads from each other, and their release."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers import FunctionHandler
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from flask import Flask, has_app_context, has_request_context
from tornado.ioloop import IOLoop

from flask_bokeh import ApplicationFailedError, FlaskBokeh
from flask_bokeh.applications.hosted import HostedApplication

from ..support import ROOT
from ..support.waiting import eventually


class Noting(LifecycleHandler):
    """A handler that records in which of Flask's contexts it runs."""

    def __init__(self, notes: dict[str, tuple[bool, bool]]) -> None:
        super().__init__()
        self.notes = notes

    def note(self, event: str) -> None:
        self.notes[event] = (has_request_context(), has_app_context())

    def modify_document(self, doc: Document) -> None:
        self.note("application")
        doc.add_next_tick_callback(lambda: self.note("callback"))

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        self.note("end of session")


def test_server_runs_outside_of_request_contexts(app: Flask, bokeh: FlaskBokeh) -> None:
    """Applications, callbacks and hooks do not run in the request that started them."""
    notes: dict[str, tuple[bool, bool]] = {}
    app.config["BOKEH_UNUSED_SESSION_LIFETIME"] = 0.3
    bokeh.add_application("/x", Application(Noting(notes)))
    bokeh.init_app(app)
    with app.test_request_context(), bokeh.pull_session("/x"):
        pass
    eventually(lambda: "end of session" in notes, "the end of the session")
    assert notes == {
        "application": (False, True),
        "callback": (False, False),
        "end of session": (False, False),
    }


def test_documents_of_failed_sessions_are_freed(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents of failed sessions are freed, although tracebacks refer to them."""
    monkeypatch.setattr(logging.getLogger("flask_bokeh"), "disabled", True)  # pytest keeps records
    documents: weakref.WeakSet[Document] = weakref.WeakSet()
    app.config["BOKEH_UNUSED_SESSION_LIFETIME"] = 0.3

    @bokeh.application("/x", page=True)
    def x(doc: Document) -> None:
        documents.add(doc)
        raise LookupError("gone")

    bokeh.init_app(app)
    client = app.test_client()
    for _ in range(5):
        assert client.get("/bokeh/x").status_code == 200
        with (
            app.test_request_context(),
            pytest.raises(ApplicationFailedError),
            bokeh.pull_session("/x"),
        ):
            pass

    def gone() -> bool:
        gc.collect()
        return len(documents) <= 1  # the loop's thread may still have the last in a frame

    eventually(gone, "the documents to go")
    hosted = app.extensions["bokeh"].servers.get().application("/x")
    assert isinstance(hosted, HostedApplication)
    assert hosted._pull_failures == {}


@pytest.mark.live
def test_blocking_application_does_not_prevent_exit(tmp_path: Path) -> None:
    """Python exits within BOKEH_STOP_TIMEOUT while an application blocks."""
    program = tmp_path / "program.py"
    program.write_text(
        "import time\n"
        "from flask import Flask\n"
        "from flask_bokeh import FlaskBokeh, WaitTimeoutError\n"
        "app = Flask(__name__)\n"
        "app.secret_key = 'x' * 20\n"
        "bokeh = FlaskBokeh(app, pull_timeout=0.5, stop_timeout=1)\n"
        "bokeh.add_application('/x', lambda doc: time.sleep(60))\n"
        "with app.test_request_context():\n"
        "    try:\n"
        "        with bokeh.pull_session('/x'):\n"
        "            pass\n"
        "    except WaitTimeoutError:\n"
        "        print('timed out')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(program)],
        timeout=60,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout == "timed out\n"


class OwnApplication(Application):
    """A subclass of Application, like Panel's."""

    def __init__(self) -> None:
        super().__init__(FunctionHandler(lambda doc: None))
        self.calls: list[str] = []

    def initialize_document(self, doc: Document) -> None:
        self.calls.append("initialize")
        super().initialize_document(doc)

    async def on_session_created(self, session_context: SessionContext) -> None:
        self.calls.append("created")

    def process_request(self, request: Any) -> dict[str, Any]:
        self.calls.append("request")
        return {}

    def on_server_loaded(self, server_context: Any) -> None:
        self.calls.append("loaded")

    def on_server_unloaded(self, server_context: Any) -> None:
        self.calls.append("unloaded")

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        self.calls.append("destroyed")


def test_subclass_of_application_keeps_its_behaviour(app: Flask, bokeh: FlaskBokeh) -> None:
    """The methods that a subclass overrides are called."""
    application = OwnApplication()
    bokeh.add_application("/x", application)
    bokeh.init_app(app)
    with app.test_request_context():
        with bokeh.pull_session("/x"):
            pass
        bokeh.stop()
    assert set(application.calls) == {"loaded", "initialize", "created", "destroyed", "unloaded"}


def test_sessions_end_once_with_concurrent_cleanups(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """Each slow session ends once, when two logouts and a stop of the server overlap."""
    ended: list[str] = []

    class Slow(LifecycleHandler):
        def modify_document(self, doc: Document) -> None: ...

        async def on_session_destroyed(self, session_context: SessionContext) -> None:
            await asyncio.sleep(0.1)
            ended.append(str(session_context.id))

    user: list[str] = [""]
    bokeh.add_application("/x", Application(Slow()))
    bokeh.user_loader(lambda: user[0])
    bokeh.init_app(app)
    for name in ("ann", "bob", "carla"):
        user[0] = name
        for _ in range(3):
            with app.test_request_context(), bokeh.pull_session("/x"):
                pass
    server = app.extensions["bokeh"].servers.get()

    def end(name: str) -> None:
        with app.app_context():
            bokeh.close_sessions(user=name)

    threads = [threading.Thread(target=end, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(60)
    eventually(lambda: len(server.bokeh.get_sessions()) == 3, "two users' sessions to end")
    with app.app_context():
        bokeh.stop()
    assert len(set(ended)) == 9
    gc.collect()  # asyncio logs unhandled errors then
    assert "KeyError" not in caplog.text


def test_stop_does_not_wait_for_a_loop_that_has_ended(app: Flask, bokeh: FlaskBokeh) -> None:
    """Nothing can run on a caller's loop that has ended."""
    app.config["BOKEH_STOP_TIMEOUT"] = 60
    bokeh.init_app(app)
    loop = IOLoop(make_current=False)

    async def start() -> None:
        with app.app_context():
            bokeh.start(io_loop=IOLoop.current())

    loop.run_sync(start)
    before = time.monotonic()
    with app.app_context():
        bokeh.stop()
    assert time.monotonic() - before < 30
    loop.close(all_fds=True)


def test_head_request_creates_no_session(app: Flask, bokeh: FlaskBokeh) -> None:
    """A GET request for the same page creates one."""
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    client = app.test_client()
    assert client.head("/bokeh/x").status_code == 200
    server = app.extensions["bokeh"].servers.get()
    assert server.bokeh.get_sessions() == []
    client.get("/bokeh/x")
    assert len(server.bokeh.get_sessions()) == 1
