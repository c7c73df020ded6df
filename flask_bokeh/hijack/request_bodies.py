"""Requests with their bodies, as Tornado reads them for a WSGI application.

Tornado bounds the body of each request and keeps it in memory; here all of them together have a
bound, too, from the first byte until the request has been answered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop

__all__ = ("BodyReader",)

logger = logging.getLogger("flask_bokeh")

_SMALL = 64 * 1024
"""Bytes of each body that are not counted: forms get through while uploads have no room."""


class BodyReader(HTTPServerConnectionDelegate):
    """Reads requests, and hands each on when its body is complete. Only on the loop's thread."""

    def __init__(
        self,
        handle: Callable[[HTTPServerRequest], Awaitable[None]],
        refuse: Callable[[HTTPServerRequest], None],
        max_bytes: int,
    ) -> None:
        """
        :param handle: answers a request.
        :param refuse: answers one whose body has no room, and ends its connection.
        :param max_bytes: how much all bodies may take together, beyond 64 KB of each.
        """
        self._handle = handle
        self._refuse = refuse
        self._max_bytes = max_bytes
        self._bytes = 0

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return _Request(self, request_conn)

    def reserve(self, size: int) -> bool:
        """Count so many bytes more, if there is room for them."""
        if self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        return True

    def release(self, size: int) -> None:
        """Give bytes back that were reserved."""
        self._bytes -= size

    def refuse(self, request: HTTPServerRequest) -> None:
        """Answer a request whose body has no room."""
        logger.warning(
            "Refused a request with a body: those of all requests take %d bytes together.",
            self._bytes,
        )
        self._refuse(request)

    async def serve(self, request: HTTPServerRequest, reserved: int) -> None:
        """Have a complete request answered; its body keeps its room until then."""
        try:
            await self._handle(request)
        finally:
            self.release(reserved)


class _Request(HTTPMessageDelegate):
    """One request, while it is read."""

    def __init__(self, reader: BodyReader, connection: HTTPConnection) -> None:
        self._reader = reader
        self._connection = connection
        self._request: HTTPServerRequest | None = None
        self._body = bytearray()
        self._reserved = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        assert isinstance(start_line, RequestStartLine)
        self._request = HTTPServerRequest(
            connection=self._connection, start_line=start_line, headers=headers
        )

    def data_received(self, chunk: bytes) -> None:
        if self._request is None:  # it has been refused
            return
        size = max(0, len(self._body) + len(chunk) - _SMALL) - self._reserved
        if self._reader.reserve(size):
            self._reserved += size
            self._body += chunk
        else:
            request = self._request
            self.on_connection_close()
            self._reader.refuse(request)

    def finish(self) -> None:
        request, reserved = self._request, self._reserved
        if request is None:
            return
        request.body = bytes(self._body)
        # Tornado may keep this object until the client's next request.
        self._request, self._body, self._reserved = None, bytearray(), 0
        IOLoop.current().spawn_callback(self._reader.serve, request, reserved)

    def on_connection_close(self) -> None:
        self._reader.release(self._reserved)
        self._request, self._body, self._reserved = None, bytearray(), 0
