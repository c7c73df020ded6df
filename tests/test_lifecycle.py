"""Starting, forking, reloading, stopping: in each process a server of its own, and an end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import websocket
from bokeh.application import Application
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from flask import Flask

from flask_bokeh import FlaskBokeh, LoopThreadError, ServerStartError
from flask_bokeh.bokeh_api.v3.server import BokehServer
from flask_bokeh.security.principal import Principal
from flask_bokeh.server import in_process as server

from .conftest import (
    ROOT,
    SERVERS,
    Live,
    Tab,
    certificate,
    eventually,
    tokens_in,
    trusting,
)
from .sockets import connect

APP = "tests.live_apps.lifecycle:create_app()"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the application writes down what happens to it."""
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("LIFECYCLE_LOG", str(path))
    return path


def events(notes: Path) -> list[str]:
    return [line.rpartition(" ")[0] for line in notes.read_text().splitlines()]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def pids(notes: Path) -> set[str]:
    return {line.rpartition(" ")[2] for line in notes.read_text().splitlines()}


END = {"loaded", "created", "destroyed", "document destroyed", "unloaded"}


@pytest.mark.parametrize("server", [one for one in SERVERS if not one.endswith("tls")])
def test_hooks_run_when_the_server_ends(live: Live, notes: Path, server: str) -> None:
    """With sessions open and pulled, the hooks for their end and the server's run, once each."""
    site = live(server, APP)
    site.get("/pulled")
    socket = connect(site, "/x", site.token())
    before = time.monotonic()
    site.stop()
    assert time.monotonic() - before < 10
    found = events(notes)
    assert (found[:2], found[-1]) == (["loaded", "created"], "unloaded")
    assert sorted(found) == sorted(END)
    socket.close()


@pytest.mark.parametrize("how", ["HUP", "--max-requests"])
def test_hooks_run_when_a_worker_ends(live: Live, notes: Path, how: str) -> None:
    """The same for a worker that gunicorn replaces; the next one begins anew."""
    site = live("gunicorn-gthread", APP, args=["--max-requests", "4"] if how != "HUP" else [])
    worker = site.get("/pulled")
    with connect(site, "/x", site.token()):
        if how == "HUP":
            site.process.send_signal(signal.SIGHUP)
        else:
            site.get("/")
        eventually(lambda: "unloaded" in events(notes), "the end of the worker")
    assert sorted(events(notes)) == sorted(END)
    assert pids(notes) == {worker}
    assert eventually(lambda: site.get("/pulled"), "a new worker") != worker


def test_a_stop_is_bounded(app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that never ends is left after BOKEH_STOP_TIMEOUT, which the log tells."""

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
    assert time.monotonic() - before < 2
    assert "Sessions and hooks did not end within" in caplog.text


@pytest.mark.parametrize(
    "step",
    ["stop_server", "TransferListener.close", "Watchdog.stop", "UpgradeServer.close_sockets"],
)
def test_a_stop_that_raises(
    app: Flask,
    bokeh: FlaskBokeh,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """The error is logged, and all other steps are taken: no thread or descriptor stays."""
    name, _, method = step.partition(".")
    original = getattr(server, name)

    async def fails(stopping: BokehServer) -> None:
        await original(stopping)
        raise LookupError(step)

    def also_fails(*args: object) -> None:
        getattr(original, f"_original_{method}")(*args)
        raise LookupError(step)

    if method:
        monkeypatch.setattr(original, f"_original_{method}", getattr(original, method), False)
        monkeypatch.setattr(original, method, also_fails)
    else:
        monkeypatch.setattr(server, name, fails)
    bokeh.add_application("/x", lambda doc: None)
    before = descriptors()
    with tempfile.TemporaryDirectory() as folder, app.test_request_context():
        app.config["BOKEH_SOCKET_DIR"] = folder
        bokeh.init_app(app)
        with bokeh.pull_session("/x"):
            pass
        assert len(list(Path(folder).glob("*/*"))) == 1
        bokeh.stop()
        assert list(Path(folder).glob("*/*")) == []
    assert f"LookupError: {step}" in caplog.text
    assert descriptors() <= before
    assert {thread.name for thread in threading.enumerate()} == {"MainThread"}


def test_a_stop_on_the_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """It is refused, and the server goes on."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.start()
        state = app.extensions["bokeh"]

        async def stop() -> None:
            state.stop()

        with pytest.raises(LoopThreadError):
            state.server().loop.call(stop, what="a test", timeout=10)
        with bokeh.pull_session("/x"):
            pass


def test_a_callback_that_exits(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """sys.exit() in a callback ends nothing but the callback."""
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
            assert done.wait(20)
    eventually(lambda: "A callback called sys.exit(3); plots go on." in caplog.text, "the log")


def test_a_start_that_takes_long(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """It is an error that names the setting; what starts too late ends by itself, hooks and all."""
    notes: list[str] = []

    class Slow(LifecycleHandler):
        def modify_document(self, doc: Document) -> None: ...

        def on_server_loaded(self, server_context: object) -> None:
            time.sleep(1)
            notes.append("loaded")

        def on_server_unloaded(self, server_context: object) -> None:
            notes.append("unloaded")

    app.config.update(BOKEH_START_TIMEOUT=0.2, BOKEH_SOCKET_DIR=tempfile.mkdtemp(dir="/tmp"))
    bokeh.add_application("/x", Application(Slow()))
    bokeh.init_app(app)
    before = descriptors()
    with app.app_context(), pytest.raises(ServerStartError, match=r"0.2 s \(BOKEH_START_TIMEOUT\)"):
        bokeh.start()
    eventually(lambda: notes == ["loaded", "unloaded"], "the late server to end")
    eventually(lambda: descriptors() == before, "its descriptors to go")

    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if "flask_bokeh" in one.name]

    eventually(lambda: threads() == [], "its threads to end")
    folder = app.extensions["bokeh"].folder
    assert list(folder.iterdir()) == []


def test_the_server_starts_on_first_use(live: Live, notes: Path) -> None:
    """A page without a pulled session starts nothing: a crawler costs a signature."""
    site = live("gunicorn-sync", APP)
    for _ in range(3):
        site.get("/")
    assert events(notes) == []
    site.get("/pulled")
    assert events(notes)[0] == "loaded"


def test_each_worker_has_a_server_of_its_own(live: Live, notes: Path) -> None:
    """With --preload and several workers each process starts its own server on first use."""
    site = live("gunicorn-sync", APP, args=["--workers", "2", "--preload"])
    workers: set[str] = set()
    eventually(lambda: workers.add(site.get("/pulled")) or len(workers) == 2, "both workers")
    assert pids(notes) == workers


def test_a_server_from_before_a_fork_is_not_used(
    live: Live, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server started in the parent stays there; the worker starts its own and serves plots."""
    monkeypatch.setenv("LIFECYCLE_START", "1")
    site = live("gunicorn-sync", APP, args=["--preload"])
    worker = site.get("/pulled")
    assert len(pids(notes)) == 2
    with connect(site, "/x", site.token()) as socket:
        assert socket.ack["msgtype"] == "ACK"
    site.stop(signal.SIGTERM)
    assert sorted(events(notes)).count("unloaded") == 2
    assert worker in pids(notes)


def test_the_reloader(live: Live, tab: Tab, notes: Path, tmp_path: Path) -> None:
    """Under the development server's reloader a plot works, before and after a reload."""
    watched = tmp_path / "watched.txt"
    watched.write_text("1")
    site = live(
        "werkzeug", APP, args=["--debug", "--extra-files", str(watched), "--exclude-patterns", "x"]
    )
    first = site.get("/pulled")
    tab.open(site.url, plots=2)
    watched.write_text("2")
    eventually(
        lambda: "Restarting with" in site.log and site.log.count("Debugger PIN") >= 2, "a reload"
    )

    def answered() -> bool:
        try:
            return site.get("/pulled") != first
        except OSError:
            return False

    eventually(answered, "the new process")
    tab.open(site.url, plots=2)
    assert tab.title(document=1) == "directory"
    tab.forgive("WebSocket", "websocket", "connect", "404")  # no favicon


def test_a_directory_application(live: Live, tab: Tab, notes: Path) -> None:
    """A directory application brings its theme and its static files."""
    site = live("werkzeug", APP)
    tab.open(site.url, plots=2)
    colour = "Bokeh.documents[1].get_model_by_name('plot').background_fill_color"
    assert "abcdef" in str(tab.page.evaluate(f"JSON.stringify({colour})"))
    assert site.get("/bokeh/directory/static/hello.txt") == "hello\n"
    tab.forgive("404")  # no favicon


def test_a_server_that_can_not_start(app: Flask, bokeh: FlaskBokeh) -> None:
    """What keeps the server from starting comes to each request; no thread, no descriptor stays."""
    app.config["BOKEH_SERVER_OPTIONS"] = {"address": "192.0.2.1"}
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    before = descriptors()
    for _ in range(2):
        with (
            app.test_request_context(),
            pytest.raises(ServerStartError, match="Cannot assign requested address") as caught,
            bokeh.pull_session("/x"),
        ):
            pass
        assert isinstance(caught.value.__cause__, OSError)
        assert descriptors() == before
    assert "flask_bokeh" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_a_port_that_is_taken(app: Flask, bokeh: FlaskBokeh, address: str) -> None:
    """Options of Bokeh's server are honoured: a port that is taken is told of, and nothing stays.

    With every address of the machine asked for, one may be bound already when another is refused.
    """
    with socket.create_server((address, 0), family=socket.AF_INET) as taken:
        options = {"port": taken.getsockname()[1], "address": address}
        app.config["BOKEH_SERVER_OPTIONS"] = options
        bokeh.init_app(app)
        before = descriptors()
        with app.app_context(), pytest.raises(ServerStartError, match="in use") as caught:
            bokeh.start()
        assert descriptors() == before
        assert caught.value.__cause__ is not None


def test_start_and_stop_again(app: Flask, bokeh: FlaskBokeh) -> None:
    """start and stop are idempotent, and a server may be started again."""
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


def test_starting_from_many_threads(app: Flask, bokeh: FlaskBokeh) -> None:
    """Many first requests at once start one server."""
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    servers: list[object] = []
    threads = [threading.Thread(target=lambda: servers.append(state.server())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(servers) == 8
    assert len(set(servers)) == 1


def test_a_blocked_loop(app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture) -> None:
    """While an application blocks the loop, waits end in time and say what may be wrong."""
    app.config.update(BOKEH_PULL_TIMEOUT=0.3, BOKEH_STOP_TIMEOUT=0.5)
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.start()
        server = app.extensions["bokeh"].server()
        gate = threading.Event()
        server.loop.io_loop.add_callback(gate.wait, 20)
        with pytest.raises(TimeoutError, match="IOLoop may be blocked"), bokeh.pull_session("/x"):
            pass
        thread = next(one for one in threading.enumerate() if one.name == "flask_bokeh")
        before = time.monotonic()
        bokeh.stop()
        assert time.monotonic() - before < 5
        assert "blocked by an application" in caplog.text
        gate.set()
        thread.join(5)
        for other in threading.enumerate():
            if "flask_bokeh" in other.name:
                other.join(5)


def test_settings_of_the_server_are_honoured(app: Flask, bokeh: FlaskBokeh) -> None:
    """Keywords of Server and BokehTornado, and Bokeh's environment, reach the server."""
    app.config.update(
        BOKEH_SERVER_OPTIONS={"keep_alive_milliseconds": 1234, "websocket_ping_interval": 9},
        BOKEH_MAX_MESSAGE_SIZE=1000,
        BOKEH_UNUSED_SESSION_LIFETIME=7,
        BOKEH_COOKIE_SECRET="a cookie secret",
        BOKEH_XSRF_COOKIES=True,
    )
    bokeh.init_app(app)
    tornado = app.extensions["bokeh"].server()._server.tornado
    assert tornado._keep_alive_milliseconds == 1234
    assert tornado._unused_session_lifetime_milliseconds == 7000
    assert tornado.settings["websocket_ping_interval"] == 9
    assert tornado.settings["websocket_max_message_size"] == 1000
    assert tornado.settings["xsrf_cookies"] is True
    assert tornado.settings["cookie_secret"] == "a cookie secret"
    assert tornado.sign_sessions
    assert not tornado.generate_session_ids


def test_a_port_with_tls(app: Flask, bokeh: FlaskBokeh) -> None:
    """The port of its own has the certificate that it is given."""
    cert, key = certificate()
    app.config.update(
        BOKEH_TRANSPORT="port",
        BOKEH_SSL_CERTFILE=cert,
        BOKEH_SSL_KEYFILE=key,
        BOKEH_ALLOW_WS_ORIGIN=["https://example.org"],
    )
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context(base_url="https://127.0.0.1"):
        (token,) = tokens_in(str(bokeh.server_document("/x")))
        port = app.extensions["bokeh"].server().port
        client = websocket.create_connection(
            f"wss://127.0.0.1:{port}/x/ws",
            subprotocols=["bokeh", token],
            origin="https://example.org",
            timeout=10,
            sslopt={"context": trusting()},
        )
        assert "ACK" in client.recv()
        client.close(timeout=2)
        client.shutdown()


@pytest.mark.skipif(
    not hasattr(BokehTornado, "_require_running"), reason="before 3.10, Bokeh refused nobody then"
)
def test_who_comes_while_the_server_stops(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """A WebSocket that has just been opened is closed with 1001, and is no error of anybody's."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        (token,) = tokens_in(str(bokeh.server_document("/x")))
        server = app.extensions["bokeh"].server()
        server._server.tornado._stopping = True
        client = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/x/ws",
            subprotocols=["bokeh", token],
            origin=f"http://127.0.0.1:{server.port}",
            timeout=10,
        )
        assert client.recv_data(control_frame=True) == (8, b"\x03\xe9")
        client.shutdown()
        server._server.tornado._stopping = False
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_an_auth_module_is_honoured(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """BOKEH_AUTH_MODULE is loaded, as bokeh serve does."""
    module = tmp_path / "auth.py"
    module.write_text("def get_user(handler):\n    return 'ann'\nlogin_url = '/login'\n")
    app.config["BOKEH_AUTH_MODULE"] = str(module)
    bokeh.init_app(app)
    provider = app.extensions["bokeh"].server()._server.tornado.auth_provider
    assert provider.get_user is not None
    assert provider.login_url == "/login"


def test_nothing_happens_on_import() -> None:
    """Importing the package starts no thread and makes no warning."""
    code = (
        "import threading, flask_bokeh, flask_bokeh.web.blueprint;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=30)


def test_the_hook_at_exit_is_there() -> None:
    """threading still has the private hook that runs before executors are closed."""
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]


def test_hooks_at_exit_of_a_program(tmp_path: Path, notes: Path) -> None:
    """A program that just ends lets the hooks run, without a word on stderr."""
    code = (
        "from tests.live_apps.lifecycle import create_app; app = create_app();"
        "client = app.test_client();"
        "[client.get('/pulled') for _ in range(12)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ},
    )
    assert done.stderr == ""
    assert events(notes).count("destroyed") == 12
    assert events(notes)[-1] == "unloaded"


def test_the_key_does_not_change_with_a_fork(app: Flask, bokeh: FlaskBokeh) -> None:
    """A token from one process is good in another with the same key."""
    document: list[Document] = []
    bokeh.add_application("/x", document.append)
    bokeh.init_app(app)
    again = Flask("again")
    again.secret_key = app.secret_key
    bokeh.init_app(again)
    token = app.extensions["bokeh"].tokens.mint("/x", principal=Principal(), user=None)
    assert again.extensions["bokeh"].tokens.read(token.encoded) == token
