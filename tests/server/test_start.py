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


def test_start_that_takes_too_long_is_an_error(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path
) -> None:
    """The error names BOKEH_START_TIMEOUT; a server that starts too late stops by itself."""
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


def test_failed_start_is_reported_to_each_request(app: Flask, bokeh: FlaskBokeh) -> None:
    """Each request raises the cause; no thread or descriptor is left."""
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
def test_start_on_a_port_in_use_is_an_error(app: Flask, bokeh: FlaskBokeh, address: str) -> None:
    """A failed start leaves no descriptor.

    With all addresses of the machine (""), one may be bound already when another is refused.
    """
    with socket.create_server((address, 0), family=socket.AF_INET) as other:
        options = {"port": other.getsockname()[1], "address": address}
        app.config["BOKEH_SERVER_OPTIONS"] = options
        bokeh.init_app(app)
        before = descriptors()
        with app.app_context(), pytest.raises(ServerStartError, match="in use") as caught:
            bokeh.start()
        assert descriptors() == before
        assert caught.value.__cause__ is not None


def test_requests_in_many_threads_start_one_server(app: Flask, bokeh: FlaskBokeh) -> None:
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


def test_port_transport_serves_tls(app: Flask, bokeh: FlaskBokeh) -> None:
    """BOKEH_SSL_CERTFILE and BOKEH_SSL_KEYFILE apply to the port of Bokeh's own."""
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


def test_auth_module_is_loaded(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """BOKEH_AUTH_MODULE works like --auth-module of ``bokeh serve``."""
    module = tmp_path / "auth.py"
    module.write_text("def get_user(handler):\n    return 'ann'\nlogin_url = '/login'\n")
    app.config["BOKEH_AUTH_MODULE"] = str(module)
    bokeh.init_app(app)
    provider = app.extensions["bokeh"].servers.get().bokeh.tornado.auth_provider
    assert provider.get_user is not None
    assert provider.login_url == "/login"


@pytest.mark.live
def test_import_starts_no_thread() -> None:
    """Importing the package also raises no warning."""
    code = (
        "import threading, flask_bokeh, flask_bokeh.web.blueprint;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)


def test_token_is_valid_for_another_app_with_the_same_key(app: Flask, bokeh: FlaskBokeh) -> None:
    """The two applications stand for two processes."""
    document: list[Document] = []
    bokeh.add_application("/x", document.append)
    bokeh.init_app(app)
    again = Flask("again")
    again.secret_key = app.secret_key
    bokeh.init_app(again)
    token = app.extensions["bokeh"].authorizer.tokens.mint("/x", principal=Principal(), user=None)
    assert again.extensions["bokeh"].authorizer.tokens.read(token.encoded) == token
