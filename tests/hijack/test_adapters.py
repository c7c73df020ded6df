"""Hijacking a client's socket from a WSGI server's environ."""

from __future__ import annotations

import io
import os
import socket
from typing import Any

import pytest

from flask_bokeh import HandoffError
from flask_bokeh.hijack.adapters import hijack


class Input(io.BufferedReader):
    """The buffered input of a WSGI server, over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.makefile("rb", buffering=0))  # type: ignore[arg-type,unused-ignore]


def test_server_keeps_a_placeholder_that_it_may_close() -> None:
    """The server's object becomes a silent placeholder that may be closed."""
    client, server = socket.socketpair()
    before = set(os.listdir("/proc/self/fd"))
    body = Input(server)
    connection = hijack({"werkzeug.socket": server, "wsgi.input": body})
    server.sendall(b"HTTP/1.1 101 nobody reads this\r\n\r\n")
    assert server.recv(10) == b""
    server.shutdown(socket.SHUT_RDWR)
    body.close()
    server.close()
    connection.release_wsgi_server()
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.sendall(b"hello")
        assert client.recv(10) == b"hello"
        client.sendall(b"answer")
        assert ours.recv(10) == b"answer"
    connection.close()
    client.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_client_that_sent_early_bytes_is_restored() -> None:
    """Data sent before the WebSocket is open is refused, and the server gets its client back."""
    client, server = socket.socketpair()
    client.sendall(b"early")
    body = Input(server)
    body.peek(1)
    with pytest.raises(HandoffError, match="before the WebSocket was open") as caught:
        hijack({"werkzeug.socket": server, "wsgi.input": body})
    assert caught.value.status == 400
    server.sendall(b"HTTP/1.1 400")
    assert client.recv(20) == b"HTTP/1.1 400"
    body.close()
    client.close()
    server.close()


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, 501),
        ({"werkzeug.socket": object(), "CONTENT_LENGTH": "5"}, 400),
        ({"werkzeug.socket": object(), "HTTP_TRANSFER_ENCODING": "chunked"}, 400),
    ],
)
def test_request_that_cannot_be_hijacked_is_refused(environ: dict[str, Any], status: int) -> None:
    """A server without a socket and a request with a body are refused."""
    with pytest.raises(HandoffError) as caught:
        hijack(environ)
    assert caught.value.status == status
