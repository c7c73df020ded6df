"""Hijack a TLS connection of CPython's ``ssl`` module."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from .connection import Adopter, HasDescriptor, PlaceholderSocket
from .upgrade_request import UpgradeRequest

__all__ = ("TLSSocketHijack", "is_transferable_tls")

_CLOSE_TIMEOUT = 10.0
"""Seconds in which the WSGI server must close its end of a hijacked TLS connection."""


def is_transferable_tls(server_socket: HasDescriptor) -> bool:
    """True if this is CPython's own TLS socket, and not gevent's replacement for it."""
    return type(server_socket).__module__ == "ssl"


class TLSSocketHijack:
    """Hijack a TLS connection, by exchanging what is inside the WSGI server's socket object.

    OpenSSL is bound to the descriptor's number, and to the very object that the server holds. So
    the object gets a placeholder without TLS until the server closes it, and then its descriptor
    and TLS state back. ``SSLSocket._sslobj`` is private; this is the only place that uses it.
    Checked on CPython 3.11 and 3.12.
    """

    def __init__(self, server_socket: ssl.SSLSocket) -> None:
        """:raises OSError: if no descriptor is left; nothing has changed then."""
        held: Any = server_socket
        self._socket = held
        self._tls: Any = self._socket._sslobj
        self._placeholder = PlaceholderSocket()
        self._kind = server_socket.family, server_socket.type, server_socket.proto
        self._client_fd = self._exchange(self._placeholder.server_end.detach(), None)

    def _exchange(self, fd: int, tls: Any) -> int:
        """Put a descriptor and a TLS state into the socket, and return its former descriptor."""
        timeout = self._socket.gettimeout()
        former = int(self._socket.detach())
        self._socket._sslobj = tls
        socket.socket.__init__(self._socket, *self._kind, fileno=fd)
        self._socket.settimeout(timeout)
        return former

    def fileno(self) -> int:
        return self._client_fd

    def has_pending_data(self) -> bool:
        """True if decrypted data waits to be read."""
        return bool(self._tls.pending())

    def restore(self) -> None:
        os.close(self._exchange(self._client_fd, self._tls))
        self._placeholder.close()

    def close(self) -> None:
        os.close(self._client_fd)
        self._placeholder.close()

    async def hand_to(self, server: Adopter, upgrade: UpgradeRequest) -> None:
        try:
            client = await self._reclaim()
        except BaseException:
            self.close()
            raise
        server.adopt(client, upgrade)

    async def _reclaim(self) -> socket.socket:
        """Wait until the WSGI server has closed its socket, and make that the client's again."""
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await self._placeholder.until_drained()
            while self._socket.fileno() != -1:  # servers shut down first, then close
                await asyncio.sleep(0.002)
        self._placeholder.close()
        client: socket.socket = self._socket
        socket.socket.__init__(client, *self._kind, fileno=self._client_fd)
        client.setblocking(False)
        self._socket._sslobj = self._tls
        return client

    async def until_released(self) -> None:
        """Do nothing: :meth:`hand_to` has waited for the server."""

    def release_wsgi_server(self) -> None:
        """Do nothing: :meth:`hand_to` needs the placeholder until the server has closed it."""
