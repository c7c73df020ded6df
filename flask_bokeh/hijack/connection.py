"""Take a client's socket from a WSGI server, and hand it to a Tornado server.

The WSGI server keeps a placeholder socket instead of the client's, so it can finish its request
as usual. This module works for every WSGI server; :mod:`.adapters` finds each server's socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Protocol

from tornado.httputil import HTTPServerRequest

from ..runtime.gevent import unpatched
from .upgrade_request import UpgradeRequest

__all__ = (
    "Adopter",
    "HasDescriptor",
    "Hijack",
    "HijackedConnection",
    "PlaceholderSocket",
    "SocketHijack",
)


class HasDescriptor(Protocol):
    """A socket, or a file over one."""

    def fileno(self) -> int: ...


class Adopter(Protocol):
    """A Tornado server that adopts clients. Called on its loop's thread."""

    def adopt(self, client: socket.socket, upgrade: UpgradeRequest) -> None: ...

    def adopt_request(self, request: HTTPServerRequest, upgrade: UpgradeRequest) -> None: ...


class Hijack(Protocol):
    """One way to take a client from its server: the mechanism behind a HijackedConnection.

    ``restore``, ``close`` and ``hand_to`` are called at most once, and only one of them.
    """

    def fileno(self) -> int:
        """Return the client's descriptor; -1 if the client has disconnected."""
        ...

    def restore(self) -> None: ...

    def close(self) -> None: ...

    async def hand_to(self, server: Adopter, upgrade: UpgradeRequest) -> None: ...

    async def until_released(self) -> None: ...

    def release_wsgi_server(self) -> None: ...


class HijackedConnection:
    """A client's connection that was taken from its WSGI server.

    A connection starts as *hijacked*, and ends in one of three states:

    - *handed over*: to a Bokeh server of this process, by :meth:`commit` and then, on the server's
      loop, :meth:`hand_to` and :meth:`until_released`; or to another worker, by
      :meth:`WorkerChannel.send <flask_bokeh.workers.sender.WorkerChannel.send>`, which closes the
      copy in this process.
    - *restored*: the WSGI server has the client again and answers it. This is possible before and
      after :meth:`commit`, as long as the connection has not been handed over.
    - *closed*: the client is disconnected.

    In an end state, :meth:`restore` and :meth:`close` do nothing. If the connection is not
    restored, the view returns an empty response, and :meth:`release_wsgi_server` is called when
    that response is closed.

    The methods may be called from any thread, but not from two threads at a time; the coroutines
    run on the loop of the server that adopts the client.
    """

    def __init__(self, hijack: Hijack) -> None:
        self._hijack = hijack
        self._open = True
        self._committed = False

    @property
    def committed(self) -> bool:
        """True if a server of this process answers the client, instead of the WSGI server."""
        return self._committed

    def fileno(self) -> int:
        """Return the client's descriptor; -1 if the client has disconnected."""
        return self._hijack.fileno()

    def commit(self) -> None:
        """Leave the client to a server of this process, whose loop will call :meth:`hand_to`.

        The response of the WSGI application will be discarded.
        """
        self._committed = True

    def restore(self) -> None:
        """Give the client back to the WSGI server, which then sends its response."""
        if self._open:
            self._open = self._committed = False
            self._hijack.restore()

    async def hand_to(self, server: Adopter, upgrade: UpgradeRequest) -> None:
        """Hand the client to a server of this process. Call it once, on the server's loop.

        :raises TimeoutError: if the WSGI server does not close a TLS connection within 10
            seconds; the client is disconnected then.
        """
        assert self._open
        self._open = False
        await self._hijack.hand_to(server, upgrade)

    async def until_released(self) -> None:
        """Wait until the WSGI server has finished its request, then free the placeholder."""
        await self._hijack.until_released()

    def release_wsgi_server(self) -> None:
        """Free the placeholder, unless the loop does that in :meth:`until_released`.

        Call it when the WSGI response is closed. After :meth:`commit` this may be left out: not
        every middleware, and no error handler, closes the response that it replaces.
        """
        if not self._committed:
            self._hijack.release_wsgi_server()

    def close(self) -> None:
        """Disconnect the client, unless it has been handed over or restored."""
        if self._open:
            self._open = False
            self._hijack.close()


class SocketHijack:
    """Hijack a plain connection: duplicate its descriptor, and replace the original.

    The WSGI server's own socket object stays in place; its descriptor number now refers to a
    placeholder. Servers call ``shutdown()`` on a connection, which would affect the duplicate, too.
    """

    def __init__(self, server_socket: HasDescriptor) -> None:
        """
        :param server_socket: the WSGI server's socket, or a file over it.
        :raises OSError: if no descriptor is left; nothing has changed then.
        """
        self._server_fd = server_socket.fileno()
        self._placeholder = PlaceholderSocket()
        try:
            self._client = unpatched("socket", "socket")(fileno=os.dup(self._server_fd))
        except OSError:
            self._placeholder.close()
            raise
        try:
            os.dup2(self._placeholder.server_end.fileno(), self._server_fd, inheritable=False)
        except OSError:
            self._client.close()
            self._placeholder.close()
            raise
        self._placeholder.server_end.close()

    def fileno(self) -> int:
        return int(self._client.fileno())

    def has_pending_data(self) -> bool:
        """True if decrypted data waits to be read: only with TLS."""
        return False

    def restore(self) -> None:
        os.dup2(self._client.fileno(), self._server_fd, inheritable=False)
        self._client.close()
        self._placeholder.close()

    def close(self) -> None:
        self._client.close()

    async def hand_to(self, server: Adopter, upgrade: UpgradeRequest) -> None:
        server.adopt(self._client, upgrade)

    async def until_released(self) -> None:
        await self._placeholder.until_closed()

    def release_wsgi_server(self) -> None:
        self._placeholder.close()


class PlaceholderSocket:
    """The socket pair that stands in for a client: its other end is silent and reads everything."""

    def __init__(self) -> None:
        self._our_end, self.server_end = unpatched("socket", "socketpair")()
        self._our_end.shutdown(socket.SHUT_WR)

    async def until_drained(self) -> None:
        """Read the WSGI server's response, until the server closes or shuts down its end."""
        loop = asyncio.get_running_loop()
        self._our_end.setblocking(False)
        with suppress(ConnectionError):
            while await loop.sock_recv(self._our_end, 65536):
                pass

    async def until_closed(self, timeout: float = 60.0) -> None:
        """Read the WSGI server's response, then close our end.

        :param timeout: seconds, after which our end is closed in any case: a child process that
            the site has forked may hold a copy of the server's end.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.until_drained()
        except TimeoutError:
            pass
        finally:
            self._our_end.close()

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self._our_end.close()
        self.server_end.close()
