"""Give a client's socket to Tornado.

:func:`request_head` rebuilds the upgrade request from an allow-list. :class:`UpgradeServer`
reads that head and then the client's socket, and serves exactly one request of each
connection: a second one would reach Bokeh past every check of Flask's (a keep-alive bypass
that was shown on a live server).

Nothing here knows Flask, sessions or tokens.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
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

from .stream import PrefixedIOStream, close_frame, prefixed_stream
from .upgrade_request import Upgrade

__all__ = ("UpgradeServer",)

MAX_SOCKETS = 4
"""Of one session. A page has one; those of a browser that lost its network may linger beside it."""


class UpgradeServer(HTTPServer):
    """Serves sockets that were handed over: one upgrade each, and nothing else.

    Only on the IOLoop's thread. It listens nowhere.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """:param max_write_buffer_size: bytes that may wait for a client that reads slowly."""
        self._max_write_buffer_size: int = kwargs.pop("max_write_buffer_size")
        super().initialize(*args, **kwargs | {"max_body_size": 0})
        self._streams: dict[str, list[PrefixedIOStream]] = {}

    def adopt(self, client: socket.socket, upgrade: Upgrade) -> None:
        """Serve this client from now on. Takes the socket over, whatever happens."""
        on_close = partial(self._forget, upgrade.session_id)
        stream = prefixed_stream(
            client,
            upgrade.head,
            max_write_buffer_size=self._max_write_buffer_size,
            on_close=on_close,
        )
        self._remember(upgrade.session_id, stream)
        self.handle_stream(stream, upgrade.address)

    def adopt_request(self, request: HTTPServerRequest, upgrade: Upgrade) -> None:
        """The same for a request that another Tornado server of this loop has read.

        If it is not upgraded, the connection goes on with that server, so it gets around no
        check there.
        """
        first, _, lines = upgrade.head.decode("latin-1").partition("\r\n")
        assert request.connection is not None
        stream: PrefixedIOStream = request.connection.stream  # type: ignore[attr-defined]
        if stream.closed():
            return
        stream.max_pending_write = self._max_write_buffer_size
        stream.on_close = partial(self._forget, upgrade.session_id)
        stream.is_websocket = True
        self._remember(upgrade.session_id, stream)
        rebuilt = HTTPServerRequest(
            connection=request.connection,
            start_line=parse_request_start_line(first),
            headers=HTTPHeaders.parse(lines),
        )
        rebuilt.uri = request.uri  # for the log; Tornado routes by the path
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
        return sum(map(len, self._streams.values()))

    def forked(self) -> None:
        """In a child process: let go of its copies of the clients' sockets, without a word."""
        for streams in self._streams.values():
            for stream in streams:
                if not stream.closed():
                    os.close(stream.socket.detach())

    def close_sockets(self, code: int) -> None:
        """Tell every client why we close (RFC 6455, section 7.4.1). Waits for nobody."""
        for streams in list(self._streams.values()):
            for stream in list(streams):
                _close(stream, code)

    def _remember(self, session_id: str, stream: PrefixedIOStream) -> None:
        streams = self._streams.setdefault(session_id, [])
        streams.append(stream)
        for oldest in streams[:-MAX_SOCKETS]:
            _close(oldest, 1008, "the session has newer WebSockets")

    def _forget(self, session_id: str, stream: PrefixedIOStream) -> None:
        streams = self._streams.get(session_id, [])
        if stream in streams:
            streams.remove(stream)
        if not streams:
            self._streams.pop(session_id, None)


def _close(stream: PrefixedIOStream, code: int, reason: str = "") -> None:
    with suppress(StreamClosedError):
        stream.write(close_frame(code, reason))
    stream.close()
    stream.end_lingering()
