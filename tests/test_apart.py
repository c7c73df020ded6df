"""Requests, documents, threads and processes are kept apart, and nothing holds on to them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers import FunctionHandler
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.models import Slider
from flask import Flask, has_app_context, has_request_context
from tornado.ioloop import IOLoop

from flask_bokeh import ApplicationFailedError, FlaskBokeh
from flask_bokeh.applications.hosted import HostedApplication

from .conftest import ROOT, Live, eventually, tokens_in
from .sockets import connect


class Noting(LifecycleHandler):
    """A handler that notes in which of Flask's contexts it runs."""

    def __init__(self, notes: dict[str, tuple[bool, bool]]) -> None:
        super().__init__()
        self.notes = notes

    def note(self, what: str) -> None:
        self.notes[what] = (has_request_context(), has_app_context())

    def modify_document(self, doc: Document) -> None:
        self.note("application")
        doc.add_next_tick_callback(lambda: self.note("callback"))

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        self.note("end of session")


def test_no_request_outlives_itself(app: Flask, bokeh: FlaskBokeh) -> None:
    """The server, and all that happens on it, is outside of the requests that set it going."""
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


def test_curdoc_is_ones_own(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """A script that runs on the loop, and views that edit pulled sessions, keep to their own."""
    (tmp_path / "script.py").write_text(
        "import time\n"
        "from bokeh.io import curdoc\n"
        "from bokeh.models import Div\n"
        "for n in range(20):\n"
        "    time.sleep(0.001)\n"
        "    curdoc().add_root(Div(text=f'script {n}'))\n"
    )
    bokeh.add_application("/script", tmp_path / "script.py")
    wrong: list[str] = []

    @bokeh.application("/edited")
    def edited(doc: Document) -> None:
        slider = Slider(start=0, end=1000, value=0, name="k")

        def changed(attr: str, old: int, new: int) -> None:
            time.sleep(0.001)
            if curdoc() is not doc:
                wrong.append("a callback got another document")

        slider.on_change("value", changed)
        doc.add_root(slider)

    bokeh.init_app(app)
    done = threading.Event()

    def edit() -> None:
        while not done.is_set():
            with app.test_request_context(), bokeh.pull_session("/edited") as session:
                for value in range(1, 20):
                    session.document.select_one({"name": "k"}).value = value
                if len(session.document.roots) != 1:
                    wrong.append(f"{len(session.document.roots)} roots")

    editing = threading.Thread(target=edit)
    editing.start()
    try:
        for _ in range(10):
            with app.test_request_context(), bokeh.pull_session("/script") as session:
                if len(session.document.roots) != 20:
                    wrong.append(f"{len(session.document.roots)} roots of the script")
    finally:
        done.set()
        editing.join(20)
    assert wrong == []


def test_curdoc_after_an_error(app: Flask, bokeh: FlaskBokeh) -> None:
    """A callback that raises in a view leaves curdoc() as it was."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        slider = Slider(start=0, end=9, value=0, name="k")
        slider.on_change("value", lambda attr, old, new: 1 / 0)
        doc.add_root(slider)

    bokeh.init_app(app)
    before = curdoc()
    with (
        app.test_request_context(),
        pytest.raises(ZeroDivisionError),
        bokeh.pull_session("/x") as session,
    ):
        session.document.select_one({"name": "k"}).value = 5
    gc.collect()
    assert curdoc() is before


def test_failed_documents_are_not_kept(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is gone with its session, and all that its traceback holds."""
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
    hosted = app.extensions["bokeh"].server().context("/x").application
    assert isinstance(hosted, HostedApplication)
    assert hosted._failures == {}


def test_an_application_that_blocks_keeps_no_process(tmp_path: Path) -> None:
    """Python ends within BOKEH_STOP_TIMEOUT, whatever an application does."""
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
        timeout=20,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout == "timed out\n"


class OwnApplication(Application):
    """An application of a class of its own, as Panel's are."""

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


def test_an_application_of_a_class_of_its_own(app: Flask, bokeh: FlaskBokeh) -> None:
    """What it does in its own way, it does here, too."""
    application = OwnApplication()
    bokeh.add_application("/x", application)
    bokeh.init_app(app)
    with app.test_request_context():
        with bokeh.pull_session("/x"):
            pass
        bokeh.stop()
    assert set(application.calls) == {"loaded", "initialize", "created", "destroyed", "unloaded"}


def test_a_forked_child_keeps_no_socket(live: Live) -> None:
    """A client is hung up on, and a worker's end is seen, while a child of the worker lives."""
    site = live("gunicorn-sync", clean=False)
    token = site.token("/hook?user=ann")
    with connect(site, "/hooked", token, query="user=ann") as client:
        child = int(site.post("/fork"))
        try:
            assert site.post("/close") == "1"
            assert client.close_code() == 1008
            client._socket.sock.settimeout(5)
            assert client._socket.sock.recv(1) == b""
        finally:
            os.kill(child, signal.SIGKILL)


def test_cleanups_at_the_same_time(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions whose end takes a while are ended once, also when several want that, and stopped."""
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
    server = app.extensions["bokeh"].server()

    def end(name: str) -> None:
        with app.app_context():
            bokeh.close_sessions(user=name)

    threads = [threading.Thread(target=end, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(10)
    eventually(lambda: len(server._server.get_sessions()) == 3, "two users' sessions to end")
    with app.app_context():
        bokeh.stop()
    assert len(set(ended)) == 9
    gc.collect()  # then asyncio tells of errors that nobody saw
    assert "KeyError" not in caplog.text


def test_a_callers_loop_that_has_ended(app: Flask, bokeh: FlaskBokeh) -> None:
    """There is nothing to wait for when it can't run any more."""
    bokeh.init_app(app)
    loop = IOLoop(make_current=False)

    async def start() -> None:
        with app.app_context():
            bokeh.start(io_loop=IOLoop.current())

    loop.run_sync(start)
    before = time.monotonic()
    with app.app_context():
        bokeh.stop()
    assert time.monotonic() - before < 1
    loop.close(all_fds=True)


def test_clients_under_gevent(live: Live) -> None:
    """Greenlets that pull through bokeh.client at the same time wait for each other."""
    site = live("gunicorn-gevent")
    with ThreadPoolExecutor(6) as pool:
        pages = list(pool.map(lambda n: site.get(f"/client?user=u{n}"), range(6)))
    for n, page in enumerate(pages):
        (token,) = tokens_in(page)
        with connect(site, "/sliders", token, query=f"user=u{n}") as client:
            assert client.titles() == [f"made for u{n}"]


def test_head_creates_nothing(app: Flask, bokeh: FlaskBokeh) -> None:
    """Who only asks for the head of a page gets no session."""
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    client = app.test_client()
    assert client.head("/bokeh/x").status_code == 200
    server = app.extensions["bokeh"].server()
    assert server._server.get_sessions() == []
    client.get("/bokeh/x")
    assert len(server._server.get_sessions()) == 1
