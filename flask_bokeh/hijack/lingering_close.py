"""Close a socket whose client is still sending, so that the client gets the last words.

When a socket is closed with data that nobody has read, the kernel resets the connection, and a
browser reports 1006 instead of the code in our close frame. So the rest is read first, and thrown
away (RFC 9112, section 9.6, describes the same for HTTP).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from tornado.ioloop import IOLoop

__all__ = ("LingeringClose",)

TIMEOUT = 5.0
"""Seconds until the client must have noticed."""
MAX_BYTES = 64 * 2**20
"""Bytes that are read at most: what is on its way when the client notices."""


class LingeringClose:
    """A socket that says nothing more, and is closed when its client has closed it, too.

    Only on the loop's thread.
    """

    def __init__(self, client: socket.socket, on_close: Callable[[], None]) -> None:
        """:param on_close: called when the socket is closed."""
        self._client = client
        self._on_close = on_close
        self._left = MAX_BYTES
        self._loop = IOLoop.current()
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)  # on a TLS socket, this ends the TLS, too
        self._timer = self._loop.call_later(TIMEOUT, self.close)
        self._loop.add_handler(client, self._read, IOLoop.READ)

    def _read(self, client: socket.socket, events: int) -> None:
        try:
            size = len(client.recv(2**18))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._left -= size
        if not size or self._left <= 0:
            self.close()

    def close(self) -> None:
        """Close it now. Again does no harm."""
        if self._client.fileno() == -1:
            return
        self._loop.remove_timeout(self._timer)
        self._loop.remove_handler(self._client)
        with suppress(OSError):  # a child process may have a copy
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        self._on_close()
