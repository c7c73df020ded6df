"""Other code between the WSGI server and us: plots go on working, and nothing leaks."""

from __future__ import annotations

import io
import os
import socket
from typing import Any

import pytest
import websocket
from flask import Flask

from flask_bokeh import FlaskBokeh, HandoffError
from flask_bokeh.hijack import adapters as servers
from flask_bokeh.hijack.adapters import hijack

from .conftest import Live, eventually
from .sockets import connect

APP = "tests.live_apps.middleware:create_app()"
INPUT = ["reads-the-body", "lint", "copies"]
RESPONSE = ["never-closes", "writes-much", "after-request-raises"]


@pytest.mark.parametrize(
    "server",
    [
        "werkzeug",
        "werkzeug-tls",
        "gunicorn-sync",
        "gunicorn-gthread",
        "gunicorn-gevent",
        "waitress",
        "uwsgi",
    ],
)
def test_middleware(live: Live, server: str) -> None:
    """Middleware that replaces input, environ or response; an after_request that raises."""
    site = live(server, APP, clean=False)
    open_once(site, "")
    before = site.stats()["descriptors"]
    for kind in INPUT + RESPONSE:
        for _ in range(3):
            open_once(site, kind)
    assert "AttributeError" not in site.log
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def test_cheroot_behind_middleware(live: Live) -> None:
    """Only wsgi.input leads to cheroot's socket: without it the log says what is in the way."""
    site = live("cheroot", APP, clean=False)
    for kind in ["", *RESPONSE]:
        open_once(site, kind)
    before = site.stats()["descriptors"]
    for kind in INPUT:
        with pytest.raises(websocket.WebSocketBadStatusException, match="501"):
            open_once(site, kind)
    site.until_logged("by way of 'wsgi.input' in the WSGI environ, which middleware has removed")
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def open_once(site: Any, kind: str) -> None:
    with connect(site, "/sliders", site.token(), query=f"middleware={kind}") as client:
        assert client.titles() == ["plain"]


@pytest.mark.parametrize("error", [AttributeError("peek"), KeyboardInterrupt(), SystemExit()])
def test_the_client_is_put_back(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Whatever is raised once the socket has been taken, the WSGI server gets it back."""

    def fails(environ: Any) -> bool:
        raise error

    own = servers.Adapter("a server", "own", lambda environ: environ["own"], fails)
    monkeypatch.setattr(servers, "ADAPTERS", (own,))
    client, server = socket.socketpair()
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(type(error)):
        hijack({"own": server})
    server.sendall(b"HTTP/1.1 500")
    assert client.recv(20) == b"HTTP/1.1 500"
    assert set(os.listdir("/proc/self/fd")) == before
    client.close()
    server.close()


def test_a_taken_client_is_put_back() -> None:
    """As long as nobody else has it, and once only."""
    client, server = socket.socketpair()
    before = set(os.listdir("/proc/self/fd"))
    taken = hijack({"werkzeug.socket": server, "wsgi.input": io.BytesIO()})
    taken.restore()
    taken.restore()
    taken.close()
    taken.release_wsgi_server()
    server.sendall(b"HTTP/1.1 503")
    assert client.recv(20) == b"HTTP/1.1 503"
    assert set(os.listdir("/proc/self/fd")) == before
    client.close()
    server.close()


def test_a_server_that_middleware_hides() -> None:
    """An environ without the server's keys: the error names the key."""
    with pytest.raises(HandoffError, match=r"gunicorn hands out .*'gunicorn\.socket'"):
        hijack({"SERVER_SOFTWARE": "gunicorn/27.0.1"})


def test_a_server_that_stops_meanwhile(app: Flask, bokeh: FlaskBokeh) -> None:
    """The client is put back and told, and its place is free again."""
    bokeh.user_loader(lambda: "ann")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    running = state.server()
    running.stop()  # past the state, which still has it
    with app.test_request_context():
        token = state.new_token("/x").text
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "http://localhost"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Protocol": f"bokeh, {token}"}
    client, server = socket.socketpair()
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        answer = app.test_client().get(
            "/bokeh/x/ws", headers=headers, environ_overrides={"werkzeug.socket": server}
        )
        assert answer.status_code == 503
        assert set(os.listdir("/proc/self/fd")) == before
        assert running.limits._seats == {}
    server.sendall(b"HTTP/1.1 503")
    assert client.recv(20) == b"HTTP/1.1 503"
    client.close()
    server.close()
