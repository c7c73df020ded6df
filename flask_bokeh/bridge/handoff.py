"""Give a client's socket to Tornado.

:func:`request_head` rebuilds the upgrade request from an allow-list. :class:`UpgradeServer`
reads that head and then the client's socket, and serves exactly one request of each
connection: a second one would reach Bokeh past every check of Flask's (a keep-alive bypass
that was shown on a live server).

Nothing here knows Flask, sessions or tokens.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    parse_request_start_line,
)
from tornado.iostream import StreamClosedError

from ..errors import HandoffError
from .streams import HandedStream, close_frame, handed_stream

__all__ = ("UpgradeServer", "request_head")

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


class UpgradeServer(HTTPServer):
    """Serves sockets that were handed over: one upgrade each, and nothing else.

    Only on the IOLoop's thread. It listens nowhere.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """:param max_waiting: bytes that may wait for a client that reads slowly."""
        self._max_waiting: int = kwargs.pop("max_waiting")
        super().initialize(*args, **kwargs | {"max_body_size": 0})
        self._streams: set[HandedStream] = set()

    def adopt(self, client: socket.socket, head: bytes, address: tuple[str, int]) -> None:
        """Serve this client from now on. Takes the socket over, whatever happens."""
        stream = handed_stream(
            client, head, max_waiting=self._max_waiting, forget=self._streams.discard
        )
        self._streams.add(stream)
        self.handle_stream(stream, address)

    def adopt_request(self, request: HTTPServerRequest, head: bytes) -> None:
        """The same for a request that another Tornado server of this loop has read.

        If it is not upgraded, the connection goes on with that server, so it gets around no
        check there.
        """
        first, _, lines = head.decode("latin-1").partition("\r\n")
        assert request.connection is not None
        stream: HandedStream = request.connection.stream  # type: ignore[attr-defined]
        if stream.closed():
            return
        stream.max_waiting, stream.forget = self._max_waiting, self._streams.discard
        stream.is_websocket = True
        self._streams.add(stream)
        rebuilt = HTTPServerRequest(
            connection=request.connection,
            start_line=parse_request_start_line(first),
            headers=HTTPHeaders.parse(lines),
        )
        assert callable(self.request_callback)
        self.request_callback(rebuilt)

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

    def close_sockets(self, code: int) -> None:
        """Tell every client why we close (RFC 6455, section 7.4.1). Waits for nobody."""
        frame = close_frame(code)
        for stream in list(self._streams):
            with suppress(StreamClosedError):
                stream.write(frame)
            stream.close()
