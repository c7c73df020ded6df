"""Tornado streams over a client's socket that is ours already.

A :class:`PrefixedIOStream` can start with a rebuilt request head, closes clients that do not
read what is sent to them, and sends close frames with legal codes only.
"""

from __future__ import annotations

import logging
import socket
import ssl
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamBufferFullError, StreamClosedError

from ..runtime.close_codes import MESSAGE_TOO_BIG
from .close_frames import close_code, close_frame, is_close_frame, with_legal_code
from .lingering_close import LingeringClose

__all__ = ("PrefixedIOStream", "http_stream", "websocket_stream")

logger = logging.getLogger("flask_bokeh")

STALL_TIMEOUT = 30.0
"""Seconds in which a client must read at least a byte of what waits for it."""

_MAX_HTTP_BUFFER = 2**30
"""Bytes of HTTP responses that may wait for a client."""


def http_stream(client: socket.socket) -> PrefixedIOStream:
    """Return a stream for HTTP requests. Takes the socket over, and closes it if this raises."""
    return _stream(client, b"")


def websocket_stream(
    client: socket.socket,
    head: bytes,
    *,
    max_write_buffer_size: int,
    on_close: Callable[[PrefixedIOStream], None],
) -> PrefixedIOStream:
    """Return a stream for one WebSocket. Takes the socket over, and closes it if this raises.

    :param head: head of the upgrade request, which is read before anything that the client sends.
    :param max_write_buffer_size: as in :meth:`PrefixedIOStream.start_websocket`.
    :param on_close: as in :meth:`PrefixedIOStream.start_websocket`.
    """
    stream = _stream(client, head)
    stream.start_websocket(max_write_buffer_size=max_write_buffer_size, on_close=on_close)
    return stream


class PrefixedIOStream(IOStream):
    """A client's socket, preceded by a rebuilt request head. Only on the loop's thread."""

    def __init__(self, client: socket.socket, head: bytes) -> None:
        self.requests = 0
        """Number of requests that have been read."""
        self.bytes_sent = 0
        """Bytes that the kernel has accepted for the client."""
        self._head = memoryview(head)
        self._is_websocket = False
        self._on_close: Callable[[PrefixedIOStream], None] | None = None
        self._stall_timer = _StallTimer(self)
        self._linger_on_close = False
        self._lingering: LingeringClose | None = None
        super().__init__(client, max_write_buffer_size=_MAX_HTTP_BUFFER)
        self.set_nodelay(True)

    def start_websocket(
        self, *, max_write_buffer_size: int, on_close: Callable[[PrefixedIOStream], None]
    ) -> None:
        """Treat what is written from now on as frames of a WebSocket, after the 101 response.

        :param max_write_buffer_size: bytes that may wait for a client that reads slowly; the
            stream is closed if there are more.
        :param on_close: called when the socket is closed.
        """
        self._is_websocket = True
        self.max_write_buffer_size = max_write_buffer_size
        self._on_close = on_close

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._head:
            return super().read_from_fd(buf)
        size = min(len(buf), len(self._head))
        buf[:size] = self._head[:size]
        self._head = self._head[size:]
        return size

    def write_to_fd(self, data: memoryview) -> int:
        size = super().write_to_fd(data)
        self.bytes_sent += size
        return size

    def write(self, data: bytes | memoryview) -> Future[None]:
        """Send data, as in Tornado.

        :raises StreamClosedError: if the stream is closed, or is closed now because too many bytes
            wait for the client.
        """
        if self._is_websocket and is_close_frame(data):
            data = with_legal_code(bytes(data))
            # The client is still sending the message that is too large.
            self._linger_on_close = close_code(data) == MESSAGE_TOO_BIG
        try:
            written = super().write(data)
        except StreamBufferFullError:
            self.close_unread(f"more than {self.max_write_buffer_size:,} bytes wait for it")
            raise StreamClosedError from None
        if self.writing():  # the client has not read everything at once
            self._stall_timer.start()
        return written

    def set_nodelay(self, value: bool) -> None:
        # Tornado turns it off after each response. Bokeh sends a message as three small
        # frames, which Nagle's algorithm and delayed ACKs would hold back by 40 ms.
        super().set_nodelay(True)

    def close_unread(self, why: str) -> None:
        """Close the stream of a client that does not read, and log why."""
        if not self.closed():
            logger.warning("Closed the WebSocket of a client that does not read: %s.", why)
            self.close()

    def close_with(self, code: int, reason: str = "") -> None:
        """Send a close frame if there is room for it in the kernel, and close the socket."""
        with suppress(StreamClosedError):
            self.write(close_frame(code, reason))
        self.close()
        if self._lingering is not None:
            self._lingering.close()

    def close_fd(self) -> None:
        self._stall_timer.cancel()
        if self._linger_on_close:
            self._lingering = LingeringClose(self.socket, self._notify_closed)
            self.socket = None  # type: ignore[assignment]
            return
        # A child process that the site has forked may have a copy, which would keep the
        # connection open.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().close_fd()
        self._notify_closed()

    def _notify_closed(self) -> None:
        if self._on_close is not None:
            self._on_close(self)


class _StallTimer:
    """Closes a stream if its client reads nothing of what waits for it for some time."""

    def __init__(self, stream: PrefixedIOStream) -> None:
        self._stream = stream
        self._handle: object | None = None
        self._sent_before = 0

    def start(self) -> None:
        """Start, unless the timer runs already."""
        if self._handle is None:
            self._sent_before = self._stream.bytes_sent
            self._handle = IOLoop.current().call_later(STALL_TIMEOUT, self._check)

    def cancel(self) -> None:
        """Stop the timer. Idempotent."""
        if self._handle is not None:
            IOLoop.current().remove_timeout(self._handle)
            self._handle = None

    def _check(self) -> None:
        self._handle = None
        if not self._stream.writing():
            return
        if self._stream.bytes_sent == self._sent_before:
            self._stream.close_unread(f"it read nothing for {STALL_TIMEOUT:g} s")
        else:
            self.start()


if TYPE_CHECKING:

    class _PrefixedSSLIOStream(PrefixedIOStream):
        """The combination of the two base classes, for type checkers."""

        def __init__(self, *args: Any, ssl_options: Any = None, **keywords: Any) -> None: ...

else:

    class _PrefixedSSLIOStream(PrefixedIOStream, SSLIOStream):
        """A TLS connection; the handshake may have been made by a WSGI server."""


def _stream(client: socket.socket, head: bytes) -> PrefixedIOStream:
    try:
        kind = _PrefixedSSLIOStream if isinstance(client, ssl.SSLSocket) else PrefixedIOStream
        return kind(client, head)
    except BaseException:
        client.close()
        raise
