"""Hijack a TLS connection of CPython's ``ssl`` module."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from .connection import Adopts, HasDescriptor, HijackedConnection, PlaceholderSocket, SocketHijack
from .upgrade_request import Upgrade

__all__ = ("HijackedTLSConnection", "TLSSocketHijack", "is_transferable_tls")


def is_transferable_tls(found: HasDescriptor) -> bool:
    """Whether this is CPython's own TLS socket, and not one that gevent put in its place."""
    return type(found).__module__ == "ssl"


class TLSSocketHijack(SocketHijack):
    """A TLS connection of CPython's.

    OpenSSL is bound to the descriptor's number and to the very object that the server holds.
    So the object is lent a dead peer without TLS while the server finishes, and gets number
    and TLS state back when the server has closed it. ``SSLSocket._sslobj`` is private; this is
    the only place that uses it. Checked on CPython 3.11 and 3.12.
    """

    def __init__(self, found: ssl.SSLSocket) -> None:
        held: Any = found
        self._socket = held
        self._tls = held._sslobj
        self._peer = PlaceholderSocket()
        self._kind = found.family, found.type, found.proto
        self._fd = self._swap(self._peer.servers.detach(), None)

    def _swap(self, fd: int, tls: Any) -> int:
        timeout = self._socket.gettimeout()
        old = int(self._socket.detach())
        self._socket._sslobj = tls
        socket.socket.__init__(self._socket, *self._kind, fileno=fd)
        self._socket.settimeout(timeout)
        return old

    @property
    def number(self) -> int:
        return int(self._fd)

    def pending(self) -> bool:
        return bool(self._tls.pending())

    def restore(self) -> None:
        os.close(self._swap(self._fd, self._tls))
        self._peer.close()

    def client(self) -> HijackedConnection:
        return HijackedTLSConnection(self)

    async def revive(self, timeout: float = 10.0) -> socket.socket:
        """Wait until the server has closed its socket, and make that the client's again."""
        async with asyncio.timeout(timeout):
            await self._peer.until_drained()
            while self._socket.fileno() != -1:  # servers shut down first, then close
                await asyncio.sleep(0.002)
        self._peer.close()
        client: socket.socket = self._socket
        socket.socket.__init__(client, *self._kind, fileno=self._fd)
        client.setblocking(False)
        self._socket._sslobj = self._tls
        return client

    def abandon(self) -> None:
        os.close(self._fd)
        self._peer.close()


class HijackedTLSConnection(HijackedConnection):
    """A TLS client comes back when the server has closed its end."""

    def __init__(self, taking: TLSSocketHijack) -> None:
        self._taking: TLSSocketHijack | None = taking

    def commit(self) -> None:
        """Nothing to remember: the dead peer stays until the server closes it."""

    @property
    def descriptor(self) -> socket.socket | None:
        return None

    def restore(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.restore()

    async def hand_to(self, server: Adopts, upgrade: Upgrade) -> None:
        assert self._taking is not None
        taking, self._taking = self._taking, None
        try:
            client = await taking.revive()
        except BaseException:
            taking.abandon()
            raise
        server.adopt(client, upgrade)

    async def until_released(self) -> None:
        """The server has finished, or the client would not have been given."""

    def release_wsgi_server(self) -> None:
        """The dead peer is what tells us that the server has finished; it stays until then."""

    def close(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.abandon()
