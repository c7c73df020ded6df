"""How a client's socket is taken from a WSGI server, plain or with TLS on it.

The server is left a harmless dead peer in place of the client. Nothing here knows which
server it is: see :mod:`flask_bokeh.hijack.adapters`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tornado.httputil import HTTPServerRequest

from ..runtime.gevent import unpatched
from .upgrade_request import Upgrade

__all__ = (
    "Adopts",
    "HasDescriptor",
    "HijackedConnection",
    "HijackedRequest",
    "PlaceholderSocket",
    "SocketHijack",
)


class HasDescriptor(Protocol):
    """A socket, or a file over one."""

    def fileno(self) -> int: ...


class Adopts(Protocol):
    """A server that takes clients over, on its loop's thread."""

    def adopt(self, client: socket.socket, upgrade: Upgrade) -> None: ...

    def adopt_request(self, request: HTTPServerRequest, upgrade: Upgrade) -> None: ...


class HijackedConnection:
    """A client whose socket was taken from the WSGI server."""

    def __init__(
        self, client: socket.socket, peer: PlaceholderSocket, restore: Callable[[], None]
    ) -> None:
        self._client: socket.socket | None = client
        self._peer = peer
        self._restore = restore
        self._committed = False

    def commit(self) -> None:
        """Say that it is about to be given: what the view answers goes to nobody any more."""
        self._committed = True

    @property
    def descriptor(self) -> socket.socket | None:
        """The socket, if its bytes are the client's own; None where there is TLS on it."""
        return self._client

    def restore(self) -> None:
        """Give the client back to the WSGI server, if nobody else has it."""
        client, self._client = self._client, None
        if client is not None:
            self._restore()

    async def hand_to(self, server: Adopts, upgrade: Upgrade) -> None:
        """Give the client to a server of this process, on its loop. Call it once.

        :raises TimeoutError: if the WSGI server does not let go of it.
        """
        assert self._client is not None
        client, self._client = self._client, None
        server.adopt(client, upgrade)

    async def until_released(self) -> None:
        """Wait until the WSGI server has finished, on the loop; then nothing is left of it."""
        await self._peer.until_closed()

    def release_wsgi_server(self) -> None:
        """Let the WSGI server go, where no loop does that. Call it when its response is finished.

        Middleware or an error handler may keep it from being called.
        """
        if not self._committed:
            self._peer.close()

    def close(self) -> None:
        """Hang up, if the client has not been given to anybody."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


class PlaceholderSocket:
    """What the WSGI server is left with: a socket pair whose other end says nothing more."""

    def __init__(self) -> None:
        self.ours, self.servers = unpatched("socket", "socketpair")()
        self.ours.shutdown(socket.SHUT_WR)

    async def until_drained(self) -> None:
        """Read the server's response, until the server closes or shuts down its end."""
        loop = asyncio.get_running_loop()
        self.ours.setblocking(False)
        with suppress(ConnectionError):
            while await loop.sock_recv(self.ours, 65536):
                pass

    async def until_closed(self, timeout: float = 60.0) -> None:
        """The same, and close our end; also when the time is over."""
        try:
            async with asyncio.timeout(timeout):
                await self.until_drained()
        except TimeoutError:
            pass  # a child process that the site has forked may hold a copy of the server's end
        finally:
            self.ours.close()

    def close(self) -> None:
        self.ours.close()
        self.servers.close()


class SocketHijack:
    """A plain connection: its descriptor is duplicated, and replaced under its number.

    Closing alone would not do: servers shut a connection down for every descriptor of it.
    """

    def __init__(self, found: HasDescriptor) -> None:
        self._fd = found.fileno()
        self._peer = PlaceholderSocket()
        try:
            self._client = unpatched("socket", "socket")(fileno=os.dup(self._fd))
        except OSError:
            self._peer.close()
            raise
        try:
            os.dup2(self._peer.servers.fileno(), self._fd, inheritable=False)
        except OSError:
            self._client.close()
            self._peer.close()
            raise
        self._peer.servers.close()

    @property
    def number(self) -> int:
        """Of the client's descriptor, from now on."""
        return int(self._client.fileno())

    def pending(self) -> bool:
        return False

    def restore(self) -> None:
        """Undo it, so that the WSGI server can tell the client off."""
        os.dup2(self._client.fileno(), self._fd, inheritable=False)
        self._client.close()
        self._peer.close()

    def client(self) -> HijackedConnection:
        return HijackedConnection(self._client, self._peer, self.restore)


class HijackedRequest(HijackedConnection):
    """A request on Tornado's own server (``flask bokeh run``): nothing has to be taken."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request
        self.committed = False
        """Whether the request has been let in, so that Bokeh's server answers it."""

    def commit(self) -> None:
        self.committed = True

    @property
    def number(self) -> int:
        """Of the client's descriptor; -1 if the client has gone."""
        assert self._request.connection is not None
        client = self._request.connection.stream.socket  # type: ignore[attr-defined]
        return -1 if client is None else int(client.fileno())

    @property
    def descriptor(self) -> socket.socket | None:
        return None

    def restore(self) -> None:
        """Nothing was taken, so the host answers."""

    async def hand_to(self, server: Adopts, upgrade: Upgrade) -> None:
        server.adopt_request(self._request, upgrade)

    async def until_released(self) -> None:
        """The host's own server goes on."""

    def release_wsgi_server(self) -> None:
        """The host knows by itself when it has finished."""

    def close(self) -> None:
        """The host closes its own."""
