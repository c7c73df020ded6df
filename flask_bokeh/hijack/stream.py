"""Tornado streams over a socket that was handed over.

:func:`prefixed_stream` first plays a rebuilt request head, then the client. It also keeps
clients that never read from costing anything lasting, and Bokeh's close codes legal.
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
from tornado.iostream import IOStream, SSLIOStream

from .lingering_close import LingeringClose

__all__ = ("TOO_COSTLY", "PrefixedIOStream", "close_frame", "prefixed_stream")

logger = logging.getLogger("flask_bokeh")

_TOO_LARGE = (1009).to_bytes(2, "big")
TOO_COSTLY = "the message asks for more than one message may"
"""The reason in a close frame with 1009 that is not about the message's size."""
STALL_TIMEOUT = 30.0
"""Seconds in which a client that is sent something must take at least a byte of it."""


def close_frame(code: int, reason: str = "") -> bytes:
    """A server's WebSocket frame that closes (RFC 6455, section 5.5.1)."""
    payload = code.to_bytes(2, "big") + reason.encode()[:123]
    return bytes([0x88, len(payload)]) + payload


class PrefixedIOStream(IOStream):
    """A plain socket, preceded by a rebuilt request head. Only on the loop's thread."""

    def __init__(
        self,
        client: socket.socket,
        head: bytes,
        *,
        max_write_buffer_size: int,
        on_close: Callable[[PrefixedIOStream], None],
    ) -> None:
        self.is_websocket = True
        """Whether frames are written, and not an HTTP response."""
        self.requests = 0
        """How many requests have been read from it."""
        self.on_close = on_close
        """Called when the socket is closed."""
        self.max_pending_write = max_write_buffer_size
        """Bytes that may wait for a client that reads slowly."""
        self._head = memoryview(head)
        self._waiting = 0
        self._watch: object | None = None
        self._too_large = False
        self._lingering: LingeringClose | None = None
        super().__init__(client)
        self.set_nodelay(True)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._head:
            # From now on without a detour: a visitor's every move comes through here.
            self.read_from_fd = super().read_from_fd  # type: ignore[method-assign]
            return super().read_from_fd(buf)
        size = min(len(buf), len(self._head))
        buf[:size] = self._head[:size]
        self._head = self._head[size:]
        return size

    def write(self, data: bytes | memoryview) -> Future[None]:
        if self.is_websocket and len(data) > 1 and data[0] == 0x88:
            data = _explained(bytes(data))
            self._too_large = data[2:4] == _TOO_LARGE
        written = super().write(data)
        if self.writing():  # the client did not take all of it at once
            self._waiting += len(data)
            written.add_done_callback(lambda _: self._written(len(data)))
            if self._waiting > self.max_pending_write:
                self._give_up(f"{self._waiting:,} bytes wait for it")
            elif self._watch is None:
                self._watch_progress()
        return written

    def set_nodelay(self, value: bool) -> None:
        # Tornado turns it off after each response. Bokeh sends a message as three small
        # frames, which Nagle's algorithm and delayed ACKs hold back by 40 ms.
        super().set_nodelay(True)

    def close_fd(self) -> None:
        if self._watch is not None:
            IOLoop.current().remove_timeout(self._watch)
            self._watch = None
        if self._too_large:  # the client is sending the rest of it
            self._lingering = LingeringClose(self.socket, lambda: self.on_close(self))
            self.socket = None  # type: ignore[assignment]
            return
        # A child process that the site has forked may have a copy, which would keep it open.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().close_fd()
        self.on_close(self)

    def end_lingering(self) -> None:
        """Close the socket of a closed stream, if it is still open, without reading the rest."""
        if self._lingering is not None:
            self._lingering.close()

    def _written(self, size: int) -> None:
        self._waiting -= size

    def _watch_progress(self) -> None:
        send, sent = super().write_to_fd, 0

        def counted(data: memoryview) -> int:
            nonlocal sent
            size = send(data)
            sent += size
            return size

        def check() -> None:
            self._watch = None
            del self.write_to_fd
            if not self.writing():
                return
            if not sent:
                self._give_up(f"it took nothing for {STALL_TIMEOUT:g} s")
            else:
                self._watch_progress()

        self.write_to_fd = counted  # type: ignore[method-assign]
        self._watch = IOLoop.current().call_later(STALL_TIMEOUT, check)

    def _give_up(self, why: str) -> None:
        if not self.closed():
            logger.warning("Closed the WebSocket of a client that does not read: %s.", why)
            self.close()


if TYPE_CHECKING:

    class _SSLStream(PrefixedIOStream):
        """What the two bases make together, for type checkers."""

        def __init__(self, *args: Any, ssl_options: Any = None, **keywords: Any) -> None: ...

else:

    class _SSLStream(PrefixedIOStream, SSLIOStream):
        """A TLS connection whose handshake the WSGI server has made."""


def prefixed_stream(
    client: socket.socket,
    head: bytes,
    *,
    max_write_buffer_size: int,
    on_close: Callable[[PrefixedIOStream], None],
) -> PrefixedIOStream:
    """The stream for a plain or a TLS socket. Takes the socket over, whatever happens.

    :param max_write_buffer_size: bytes that may wait for a client that reads slowly.
    :param on_close: called when the socket is closed.
    """
    kind = _SSLStream if isinstance(client, ssl.SSLSocket) else PrefixedIOStream
    try:
        return kind(client, head, max_write_buffer_size=max_write_buffer_size, on_close=on_close)
    except BaseException:
        client.close()
        raise


def _explained(frame: bytes) -> bytes:
    """A close frame of Tornado's or Bokeh's, with a legal code and a reason that helps."""
    code = int.from_bytes(frame[2:4], "big")
    if code == 1009 and frame[4:] != TOO_COSTLY.encode():
        logger.warning(
            "Closed a WebSocket: its client sent a message larger than "
            "BOKEH_MAX_MESSAGE_SIZE allows."
        )
        return close_frame(code, "the message is too large")
    # Bokeh's 10000 and 10001 are none that RFC 6455 knows (section 7.4): an error of the
    # server's, and a protocol error of the client's.
    legal = {10000: 1011, 10001: 1002}.get(code, code)
    return frame[:2] + legal.to_bytes(2, "big") + frame[4:] if len(frame) >= 4 else frame
