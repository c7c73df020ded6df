"""Read requests with their bodies on a Tornado server, for a WSGI application.

Tornado limits the body of each request and keeps it in memory. The :class:`BodyReader` also limits
what the bodies of all requests take together, from their first byte until they are answered.
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

_FREE_SIZE = 64 * 1024
"""Bytes of each body that are not counted, so that forms get through while uploads do not."""


class BodyReader(HTTPServerConnectionDelegate):
    """Reads requests, and passes each on when its body is complete. Only on the loop's thread."""

    def __init__(
        self,
        handle: Callable[[HTTPServerRequest], Awaitable[None]],
        refuse: Callable[[HTTPServerRequest], None],
        max_bytes: int,
    ) -> None:
        """
        :param handle: answers a complete request.
        :param refuse: answers a request whose body exceeds the limit, and closes its connection.
        :param max_bytes: bytes that all bodies together may take, without 64 KB of each.
        """
        self._handle = handle
        self._refuse = refuse
        self._max_bytes = max_bytes
        self._bytes = 0

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Return the object that gets the parts of a new request."""
        return _PartialRequest(self, request_conn)

    def reserve(self, size: int) -> bool:
        """Reserve bytes for a body; False if that would exceed the limit."""
        if self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        return True

    def release(self, size: int) -> None:
        """Release reserved bytes."""
        self._bytes -= size

    def refuse(self, request: HTTPServerRequest) -> None:
        """Answer a request whose body exceeds the limit."""
        logger.warning(
            "Refused a request with a body: those of all requests take %d bytes together.",
            self._bytes,
        )
        self._refuse(request)

    async def serve(self, request: HTTPServerRequest, reserved: int) -> None:
        """Answer a complete request, then release the bytes that its body has reserved."""
        try:
            await self._handle(request)
        finally:
            self.release(reserved)


class _PartialRequest(HTTPMessageDelegate):
    """A request that is being read. Tornado may keep it until the client's next request."""

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
        if self._request is None:  # the request has been refused
            return
        size = max(0, len(self._body) + len(chunk) - _FREE_SIZE) - self._reserved
        if self._reader.reserve(size):
            self._reserved += size
            self._body += chunk
        else:
            request = self._request
            self._discard()
            self._reader.refuse(request)

    def finish(self) -> None:
        request, reserved = self._request, self._reserved
        if request is None:
            return
        request.body = bytes(self._body)
        self._reserved = 0  # serve() releases it
        self._discard()
        IOLoop.current().spawn_callback(self._reader.serve, request, reserved)

    def on_connection_close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        """Release and free what has been read."""
        self._reader.release(self._reserved)
        self._request, self._body, self._reserved = None, bytearray(), 0
