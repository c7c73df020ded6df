"""Restoring a client's socket to its WSGI server."""

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
def test_client_is_restored_after_an_error(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The WSGI server gets its socket back after any exception in hijack()."""

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


@pytest.mark.parametrize("committed", [False, True])
def test_restore_gives_the_socket_back_once(committed: bool) -> None:
    """restore() gives the socket back to the WSGI server once, even after commit()."""
    client, server = socket.socketpair()
    before = set(os.listdir("/proc/self/fd"))
    connection = hijack({"werkzeug.socket": server, "wsgi.input": io.BytesIO()})
    if committed:
        connection.commit()
    connection.restore()
    connection.restore()
    connection.close()
    connection.release_wsgi_server()
    assert not connection.committed
    server.sendall(b"HTTP/1.1 503")
    assert client.recv(20) == b"HTTP/1.1 503"
    assert set(os.listdir("/proc/self/fd")) == before
    client.close()
    server.close()


def test_error_names_the_key_that_middleware_hides() -> None:
    """The error for an environ without the server's socket names the missing key."""
    with pytest.raises(HandoffError, match=r"gunicorn hands out .*'gunicorn\.socket'"):
        hijack({"SERVER_SOFTWARE": "gunicorn/27.0.1"})


def test_client_of_a_stopped_server_is_answered_503(app: Flask, bokeh: FlaskBokeh) -> None:
    """A client of a stopped server is restored, gets a 503 and releases its reservation."""
    bokeh.user_loader(lambda: "ann")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    running = state.servers.get()
    running.stop()  # bypasses the state, which still refers to it
    with app.test_request_context():
        token = state.authorizer.issue("/x").encoded
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
        assert running.limits._reservations == {}
    server.sendall(b"HTTP/1.1 503")
    assert client.recv(20) == b"HTTP/1.1 503"
    client.close()
    server.close()
