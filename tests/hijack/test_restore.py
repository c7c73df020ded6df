"""Give a client back to its WSGI server."""

from __future__ import annotations

import io
import os
import socket
from typing import Any

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh, HandoffError
from flask_bokeh.hijack import adapters as servers
from flask_bokeh.hijack.adapters import hijack


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
        token = state.new_token("/x").encoded
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
