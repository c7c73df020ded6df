"""Take the client's socket out of the WSGI server, and give it to Tornado.

:func:`take_socket` leaves the WSGI server a harmless dead peer in place of the client, so it
finishes the request in peace. :func:`request_head` rebuilds the upgrade request from an
allow-list. :class:`UpgradeServer` reads that head and then the client's socket, and serves
exactly one request of each connection: a second one would reach Bokeh past every check of
Flask's (a keep-alive bypass that was shown on a live server).

Nothing here knows Flask, sessions or tokens.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.iostream import IOStream, StreamClosedError

from ..errors import HandoffError

__all__ = ("DeadPeer", "UpgradeServer", "request_head", "take_socket")

# Where a WSGI server keeps the client's socket in the environ, and whether bytes that the
# client sent behind its request head are waiting in the server's buffer. One row a server.
# Checked on Werkzeug 3.1.9 and gunicorn 27.0.1 (sync and gthread).
_SOCKETS: dict[str, Callable[[Any], bool]] = {
    "werkzeug.socket": lambda body: bool(body.peek(1)),
    "gunicorn.socket": lambda body: bool(body.reader.unreader.buf.getvalue()),
}

# GOING AWAY, RFC 6455 sections 5.5.1 and 7.4.1: an unmasked close frame with code 1001.
_CLOSE_1001 = b"\x88\x02\x03\xe9"


class DeadPeer:
    """What the WSGI server is left with: a socket pair whose other end says nothing more."""

    def __init__(self) -> None:
        self._ours, self._servers = socket.socketpair()
        self._ours.shutdown(socket.SHUT_WR)

    def replace(self, fd: int) -> None:
        """Put the dead peer in the place of a descriptor, for whoever uses that number."""
        os.dup2(self._servers.fileno(), fd, inheritable=False)
        self._servers.close()

    def close(self) -> None:
        """Forget what the server wrote. Called when its response is finished."""
        self._ours.close()
        self._servers.close()


def take_socket(environ: Mapping[str, Any]) -> tuple[socket.socket, DeadPeer]:
    """Take the client's socket away from the WSGI server.

    The caller answers the request with an empty response and closes the dead peer after it.

    :raises HandoffError: if this server's socket can't be had, or holds bytes that a
        well-behaved WebSocket client would not have sent yet (RFC 6455, section 4.1).
    """
    key = next((key for key in _SOCKETS if key in environ), None)
    if key is None:
        raise HandoffError(
            "This WSGI server does not hand out the client's socket. Use gunicorn (sync or "
            "gthread) or 'flask run', or set BOKEH_TRANSPORT = 'port'.",
            501,
        )
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandoffError("A request that opens a WebSocket can't have a body.", 400)
    server_socket = environ[key]
    if isinstance(server_socket, ssl.SSLSocket):
        raise HandoffError(
            "A TLS connection that the WSGI server ends can't be handed over. End TLS in a "
            "proxy in front, or set BOKEH_TRANSPORT = 'port'.",
            501,
        )
    try:
        peer = DeadPeer()
        client = socket.socket(fileno=os.dup(server_socket.fileno()))
    except OSError as error:
        raise HandoffError(f"No descriptor is left for another socket: {error}.", 503) from error
    peer.replace(server_socket.fileno())
    # Looking may read once from the descriptor, which is the silent peer by now.
    if _SOCKETS[key](environ["wsgi.input"]):
        # Put the client back, so that the WSGI server can tell it.
        os.dup2(client.fileno(), server_socket.fileno(), inheritable=False)
        client.close()
        peer.close()
        raise HandoffError("The client sent data before the WebSocket was open.", 400)
    return client, peer


# Everything else a client sends stays outside. Origin has been judged by Flask, which knows
# the site's own; Cookie is there for applications and auth modules that read it.
_FORWARDED = (
    "Host",
    "Cookie",
    "User-Agent",
    "Accept-Language",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
)
_FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_TARGET = re.compile(r"/[A-Za-z0-9._~/-]*")
_MAX_HEAD = 32 * 1024


def request_head(target: str, environ: Mapping[str, Any], token: str) -> bytes:
    """Rebuild the head of an upgrade request: what goes to Tornado instead of the client's.

    :param target: the path on the Bokeh server, made from the matched route.
    :param environ: the WSGI environ; only an allow-list of its headers is used.
    :param token: the session token, which replaces the client's.
    :raises HandoffError: if a header could end a line, or the head grows over 32 KB.
    """
    if not _TARGET.fullmatch(target):
        raise HandoffError(f"The path {target!r} can't be an application's.", 400)
    lines = [f"GET {target} HTTP/1.1"]
    for name in _FORWARDED:
        value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        if value is None:
            continue
        if not isinstance(value, str) or _FORBIDDEN.search(value):
            raise HandoffError(f"The header {name} holds a character that no header may hold.", 400)
        lines.append(f"{name}: {value.strip()}")
    lines += [
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Protocol: bokeh, {token}",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode("latin-1")
    if len(head) > _MAX_HEAD:
        raise HandoffError(f"The headers take more than {_MAX_HEAD} bytes.", 431)
    return head


class _HandedStream(IOStream):
    """A client's socket, preceded by a rebuilt request head."""

    def __init__(
        self, client: socket.socket, head: bytes, forget: Callable[[_HandedStream], None]
    ) -> None:
        self._head = memoryview(head)
        self._forget = forget
        self.requests = 0
        super().__init__(client)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._head:
            return super().read_from_fd(buf)
        size = min(len(buf), len(self._head))
        buf[:size] = self._head[:size]
        self._head = self._head[size:]
        return size

    def close_fd(self) -> None:
        super().close_fd()
        self._forget(self)

    def set_nodelay(self, value: bool) -> None:
        # Tornado turns it off after each response. Bokeh sends a message as three small
        # frames, which Nagle's algorithm and delayed ACKs hold back by 40 ms.
        super().set_nodelay(True)


class UpgradeServer(HTTPServer):
    """Serves sockets that were handed over: one upgrade each, and nothing else.

    Only on the IOLoop's thread. It listens nowhere.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"max_body_size": 0}
        super().initialize(*args, **kwargs)
        self._streams: set[_HandedStream] = set()

    def adopt(self, client: socket.socket, head: bytes, address: tuple[str, int]) -> None:
        """Serve this client from now on. Takes the socket over, whatever happens."""
        try:
            stream = _HandedStream(client, head, self._streams.discard)
        except BaseException:
            client.close()
            raise
        self._streams.add(stream)
        stream.set_nodelay(True)
        self.handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        stream = request_conn.stream  # type: ignore[attr-defined]
        stream.requests += 1
        if stream.requests > 1:
            stream.close()
            return HTTPMessageDelegate()
        return super().start_request(server_conn, request_conn)

    @property
    def open_sockets(self) -> int:
        """How many clients hold a socket."""
        return len(self._streams)

    def close_sockets(self) -> None:
        """Tell every client that we go away (1001), and close. Waits for nobody."""
        for stream in list(self._streams):
            with suppress(StreamClosedError):
                stream.write(_CLOSE_1001)
            stream.close()
