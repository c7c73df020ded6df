"""A Tornado HTTP server that serves the WebSockets of hijacked connections."""

from __future__ import annotations

import os
import socket
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

from ..runtime.close_codes import POLICY_VIOLATION
from .stream import PrefixedIOStream, websocket_stream
from .upgrade_request import UpgradeRequest

__all__ = ("UpgradeServer",)

MAX_SOCKETS = 4
"""WebSockets of one session. A page has one; those of a browser that has lost its network may
linger for a while."""


class UpgradeServer(HTTPServer):
    """Serves exactly one request of each connection that it adopts: the upgrade request.

    A second request would reach Bokeh without the checks that Flask makes, so its connection is
    closed. The server does not listen. Only on the IOLoop's thread.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Initialize the server as Tornado does, which calls this in place of ``__init__``.

        :param max_write_buffer_size: bytes that may wait for a client that reads slowly.
        """
        self._max_write_buffer_size: int = kwargs.pop("max_write_buffer_size")
        super().initialize(*args, **kwargs | {"max_body_size": 0})
        self._streams: dict[str, list[PrefixedIOStream]] = {}

    def adopt(self, client: socket.socket, upgrade: UpgradeRequest) -> None:
        """Serve a client from now on. Takes the socket over, and closes it if this raises."""
        stream = websocket_stream(
            client,
            upgrade.head,
            max_write_buffer_size=self._max_write_buffer_size,
            on_close=partial(self._remove_stream, upgrade.session_id),
        )
        self._add_stream(upgrade.session_id, stream)
        self.handle_stream(stream, upgrade.address)

    def adopt_request(self, request: HTTPServerRequest, upgrade: UpgradeRequest) -> None:
        """Serve a request that another Tornado server on this loop has read.

        If the request is not upgraded, the connection goes on with the other server, and each
        later request passes that server's checks.
        """
        first, _, lines = upgrade.head.decode("latin-1").partition("\r\n")
        assert request.connection is not None
        stream: PrefixedIOStream = request.connection.stream  # type: ignore[attr-defined]
        if stream.closed():
            return
        stream.start_websocket(
            max_write_buffer_size=self._max_write_buffer_size,
            on_close=partial(self._remove_stream, upgrade.session_id),
        )
        self._add_stream(upgrade.session_id, stream)
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
        """Let the first request of a connection through, and close the connection at a second."""
        stream = request_conn.stream  # type: ignore[attr-defined]
        stream.requests += 1
        if stream.requests > 1:
            stream.close()
            return HTTPMessageDelegate()
        return super().start_request(server_conn, request_conn)

    @property
    def open_sockets(self) -> int:
        """Number of clients with an open socket."""
        return sum(map(len, self._streams.values()))

    def close_sockets(self, code: int) -> None:
        """Close all clients' sockets with a close code, without waiting for the clients."""
        for streams in list(self._streams.values()):
            for stream in list(streams):
                stream.close_with(code)

    def forked(self) -> None:
        """Close a child process's copies of the clients' sockets. Nothing is sent."""
        for streams in self._streams.values():
            for stream in streams:
                if not stream.closed():
                    os.close(stream.socket.detach())

    def _add_stream(self, session_id: str, stream: PrefixedIOStream) -> None:
        streams = self._streams.setdefault(session_id, [])
        streams.append(stream)
        for oldest in streams[:-MAX_SOCKETS]:
            oldest.close_with(POLICY_VIOLATION, "the session has newer WebSockets")

    def _remove_stream(self, session_id: str, stream: PrefixedIOStream) -> None:
        streams = self._streams.get(session_id, [])
        if stream in streams:
            streams.remove(stream)
        if not streams:
            self._streams.pop(session_id, None)
