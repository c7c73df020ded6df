"""Start the server of a process: settings, failures, time-outs."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from bokeh.application import Application
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from flask import Flask

from flask_bokeh import FlaskBokeh, ServerStartError
from flask_bokeh.security.principal import Principal

from ..support import ROOT
from ..support.certificates import certificate, trusting
from ..support.html import tokens_in
from ..support.lifecycle import descriptors
from ..support.waiting import eventually


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

    app.config.update(BOKEH_START_TIMEOUT=0.2, BOKEH_RUNTIME_DIR=tempfile.mkdtemp(dir="/tmp"))
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
    folder = app.extensions["bokeh"].find_runtime_dir()
    assert list(folder.iterdir()) == []


def test_a_server_that_can_not_start(app: Flask, bokeh: FlaskBokeh) -> None:
    """Each request gets the cause of a failed start; no thread and no descriptor is left."""
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


def test_starting_from_many_threads(app: Flask, bokeh: FlaskBokeh) -> None:
    """Many first requests at once start one server."""
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    servers: list[object] = []
    threads = [
        threading.Thread(target=lambda: servers.append(state.servers.get())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(servers) == 8
    assert len(set(servers)) == 1


def test_settings_of_the_server_are_honoured(app: Flask, bokeh: FlaskBokeh) -> None:
    """Keywords of Server and BokehTornado, and Bokeh's environment, reach the server."""
    app.config.update(
        BOKEH_SERVER_OPTIONS={"keep_alive_milliseconds": 1234, "websocket_ping_interval": 9},
        BOKEH_MAX_MESSAGE_SIZE=1000,
        BOKEH_UNUSED_SESSION_LIFETIME=7,
        BOKEH_COOKIE_SECRET="a cookie secret",
    )
    bokeh.init_app(app)
    tornado = app.extensions["bokeh"].servers.get().bokeh.tornado
    assert tornado._keep_alive_milliseconds == 1234
    assert tornado._unused_session_lifetime_milliseconds == 7000
    assert tornado.settings["websocket_ping_interval"] == 9
    assert tornado.settings["websocket_max_message_size"] == 1000
    assert tornado.settings["cookie_secret"] == "a cookie secret"
    assert tornado.sign_sessions
    assert not tornado.generate_session_ids


def test_a_port_with_tls(app: Flask, bokeh: FlaskBokeh) -> None:
    """The port of its own has the certificate that it is given."""
    websocket = pytest.importorskip("websocket")
    pytest.importorskip("trustme")
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
        port = app.extensions["bokeh"].servers.get().port
        client = websocket.create_connection(
            f"wss://127.0.0.1:{port}/x/ws",
            subprotocols=["bokeh", token],
            origin="https://example.org",
            timeout=60,
            sslopt={"context": trusting()},
        )
        assert "ACK" in client.recv()
        client.close(timeout=2)
        client.shutdown()


def test_an_auth_module_is_honoured(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """BOKEH_AUTH_MODULE is loaded, as bokeh serve does."""
    module = tmp_path / "auth.py"
    module.write_text("def get_user(handler):\n    return 'ann'\nlogin_url = '/login'\n")
    app.config["BOKEH_AUTH_MODULE"] = str(module)
    bokeh.init_app(app)
    provider = app.extensions["bokeh"].servers.get().bokeh.tornado.auth_provider
    assert provider.get_user is not None
    assert provider.login_url == "/login"


@pytest.mark.live
def test_nothing_happens_on_import() -> None:
    """Importing the package starts no thread and makes no warning."""
    code = (
        "import threading, flask_bokeh, flask_bokeh.web.blueprint;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=30)


def test_the_key_does_not_change_with_a_fork(app: Flask, bokeh: FlaskBokeh) -> None:
    """A token from one process is good in another with the same key."""
    document: list[Document] = []
    bokeh.add_application("/x", document.append)
    bokeh.init_app(app)
    again = Flask("again")
    again.secret_key = app.secret_key
    bokeh.init_app(again)
    token = app.extensions["bokeh"].authorizer.tokens.mint("/x", principal=Principal(), user=None)
    assert again.extensions["bokeh"].authorizer.tokens.read(token.encoded) == token
