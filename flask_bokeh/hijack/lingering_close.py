"""Close the socket of a client that is still sending, so that the client gets our close frame.

If a socket is closed while received data has not been read, the kernel resets the connection, and
a browser reports 1006 instead of the code in the close frame. So the rest is read and discarded
first, as RFC 9112, section 9.6 describes it for HTTP.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from tornado.ioloop import IOLoop

__all__ = ("LingeringClose",)

TIMEOUT = 5.0
"""Seconds in which the client must close its end."""
MAX_BYTES = 64 * 2**20
"""Bytes that are read at most: what the client sends before it notices the close frame."""


class LingeringClose:
    """Shuts a socket down for writing, and closes it when the client has closed its end.

    Only on the loop's thread.
    """

    def __init__(self, client: socket.socket, on_close: Callable[[], None]) -> None:
        """:param on_close: called when the socket is closed."""
        self._client = client
        self._on_close = on_close
        self._remaining = MAX_BYTES
        self._loop = IOLoop.current()
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)  # on a TLS socket, this ends the TLS, too
        self._timer = self._loop.call_later(TIMEOUT, self.close)
        self._loop.add_handler(client, self._read, IOLoop.READ)

    def close(self) -> None:
        """Close the socket now. Idempotent."""
        if self._client.fileno() == -1:
            return
        self._loop.remove_timeout(self._timer)
        self._loop.remove_handler(self._client)
        with suppress(OSError):  # a child process may have a copy of the socket
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        self._on_close()

    def _read(self, client: socket.socket, events: int) -> None:
        try:
            size = len(client.recv(2**18))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._remaining -= size
        if not size or self._remaining <= 0:
            self.close()
