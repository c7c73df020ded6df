"""The WSGI servers: where each keeps the client's socket, and how it is taken away.

:data:`ADAPTERS` has one row a server; the rest is one mechanism. :func:`take` leaves the
server a harmless dead peer in place of the client, so it finishes the request in peace, and
returns the client as a :class:`TakenClient`.

Nothing here knows Flask, Bokeh, sessions or tokens.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import HandoffError
from ..native import original

__all__ = ("ADAPTERS", "Adapter", "TakenClient", "adapter_of", "take")

Environ = Mapping[str, Any]


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where one WSGI server keeps the client's socket."""

    name: str
    """The server, for a person."""

    find: Callable[[Environ], _HasDescriptor | None]
    """The socket, or anything with its descriptor; None if this is another server."""

    sent_early: Callable[[Environ], bool]
    """Whether bytes that the client sent behind its request head wait in a buffer of the
    server's. Asked when the descriptor is a dead peer already, so that looking can't block."""

    ends_tls: Callable[[Environ], bool] = lambda _: False
    """Whether the server ends TLS on this connection, in a way that can't be taken over."""


# --- one row a server; tests/test_servers.py runs each --------------------------------------


@dataclass(frozen=True, slots=True)
class _Descriptor:
    number: int

    def fileno(self) -> int:
        return self.number


def _waitress_channel(environ: Environ) -> Any:
    # The method of waitress's that is meant to ask whether the client has gone.
    return getattr(environ.get("waitress.client_disconnected"), "__self__", None)


def _waitress_sent_early(environ: Environ) -> bool:
    channel = _waitress_channel(environ)
    return channel.request is not None or len(channel.requests) > 1


def _cheroot_reader(environ: Environ) -> Any:
    reader = environ.get("wsgi.input")
    if not type(reader).__module__.startswith("cheroot."):
        return None
    while (inner := getattr(reader, "rfile", None)) is not None:
        reader = inner
    return reader


def _uwsgi_descriptor(environ: Environ) -> _Descriptor | None:
    if "uwsgi.version" not in environ:
        return None
    return _Descriptor(sys.modules["uwsgi"].connection_fd())


def _uwsgi_ends_tls(environ: Environ) -> bool:
    options = sys.modules["uwsgi"].opt
    return environ.get("HTTPS") == "on" and b"https-socket" in {
        key if isinstance(key, bytes) else key.encode() for key in options
    }


# Checked on Werkzeug 3.1.9, gunicorn 27.0.1 (sync, gthread, gevent), waitress 3.0.2,
# cheroot 11.1.2 and uWSGI 2.0.30.
ADAPTERS = (
    Adapter(
        "Werkzeug",
        lambda environ: environ.get("werkzeug.socket"),
        lambda environ: bool(environ["wsgi.input"].peek(1)),
    ),
    Adapter(
        "gunicorn",
        lambda environ: environ.get("gunicorn.socket"),
        lambda environ: bool(environ["wsgi.input"].reader.unreader.buf.getvalue()),
    ),
    Adapter(
        "waitress",
        lambda environ: getattr(_waitress_channel(environ), "socket", None),
        _waitress_sent_early,
    ),
    Adapter(
        "cheroot",
        _cheroot_reader,
        lambda environ: bool(_cheroot_reader(environ).has_data()),
        lambda environ: environ.get("HTTPS") == "on",
    ),
    # uWSGI drops what came with the head, or its router sends it on behind the hand-over,
    # where it is the client's first WebSocket frame.
    Adapter("uWSGI", _uwsgi_descriptor, lambda _: False, _uwsgi_ends_tls),
)


def adapter_of(environ: Environ) -> Adapter | None:
    """The adapter of the server that made this environ, if it has one."""
    return next((one for one in ADAPTERS if one.find(environ) is not None), None)


# --- the mechanism --------------------------------------------------------------------------


class TakenClient:
    """A client whose socket was taken from the WSGI server."""

    def __init__(self, client: socket.socket, peer: _DeadPeer) -> None:
        self._client: socket.socket | None = client
        self._peer = peer

    @property
    def descriptor(self) -> socket.socket | None:
        """The socket, if its bytes are the client's own; None where there is TLS on it."""
        return self._client

    async def socket(self) -> socket.socket:
        """The client, for this process to serve. On a loop; call it once."""
        assert self._client is not None
        client, self._client = self._client, None
        return client

    def finish(self) -> None:
        """Let the WSGI server go. Call it when its response is finished."""
        self._peer.close()

    def close(self) -> None:
        """Hang up, if the client has not been given to anybody."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def take(environ: Environ) -> TakenClient:
    """Take the client's socket away from the WSGI server.

    The caller answers the request with an empty response, and calls ``finish`` after it.

    :raises HandoffError: if this server's socket can't be had, or holds bytes that a
        well-behaved WebSocket client would not have sent yet (RFC 6455, section 4.1).
    """
    adapter = adapter_of(environ)
    if adapter is None:
        raise HandoffError(
            "This WSGI server does not hand out the client's socket. Use one that does "
            f"({', '.join(one.name for one in ADAPTERS)}), or set BOKEH_TRANSPORT = 'port'.",
            501,
        )
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandoffError("A request that opens a WebSocket can't have a body.", 400)
    if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):
        raise HandoffError("A WebSocket is opened with HTTP/1.1.", 400)
    found = adapter.find(environ)
    assert found is not None
    if adapter.ends_tls(environ) or (isinstance(found, ssl.SSLSocket) and not _movable(found)):
        raise HandoffError(
            f"{adapter.name} ends TLS itself here, and such a connection can't be handed over. "
            "End TLS in a proxy in front, or set BOKEH_TRANSPORT = 'port'.",
            501,
        )
    try:
        taken: _Taking = _TLSTaking(found) if isinstance(found, ssl.SSLSocket) else _Taking(found)
    except OSError as error:
        raise HandoffError(f"No descriptor is left for another socket: {error}.", 503) from error
    # Looking may read once from the descriptor, which is the silent peer by now.
    if taken.pending() or adapter.sent_early(environ):
        taken.put_back()
        raise HandoffError("The client sent data before the WebSocket was open.", 400)
    return taken.client()


class _DeadPeer:
    """What the WSGI server is left with: a socket pair whose other end says nothing more."""

    def __init__(self) -> None:
        self.ours, self.servers = original("socket", "socketpair")()
        self.ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.ours.close()
        self.servers.close()


class _Taking:
    """A plain connection: its descriptor is duplicated, and replaced under its number.

    Closing alone would not do: servers shut a connection down for every descriptor of it.
    """

    def __init__(self, found: _HasDescriptor) -> None:
        self._fd = found.fileno()
        self._peer = _DeadPeer()
        try:
            self._client = original("socket", "socket")(fileno=os.dup(self._fd))
        except OSError:
            self._peer.close()
            raise
        os.dup2(self._peer.servers.fileno(), self._fd, inheritable=False)
        self._peer.servers.close()

    def pending(self) -> bool:
        return False

    def put_back(self) -> None:
        """Undo it, so that the WSGI server can tell the client off."""
        os.dup2(self._client.fileno(), self._fd, inheritable=False)
        self._client.close()
        self._peer.close()

    def client(self) -> TakenClient:
        return TakenClient(self._client, self._peer)


def _movable(found: ssl.SSLSocket) -> bool:
    """Whether this is CPython's own TLS socket, and not one that gevent put in its place."""
    return type(found).__module__ == "ssl"


class _TLSTaking(_Taking):
    """A TLS connection of CPython's.

    OpenSSL is bound to the descriptor's number and to the very object that the server holds.
    So the object is lent a dead peer without TLS while the server finishes, and gets number
    and TLS state back when the server has closed it. ``SSLSocket._sslobj`` is private; this is
    the only place that uses it. Checked on CPython 3.11 and 3.12.
    """

    def __init__(self, found: ssl.SSLSocket) -> None:
        self._socket: Any = found  # untyped for _sslobj
        self._tls: Any = self._socket._sslobj
        self._peer = _DeadPeer()
        self._kind = found.family, found.type, found.proto
        self._fd = self._swap(self._peer.servers.detach(), None)

    def _swap(self, fd: int, tls: Any) -> int:
        timeout = self._socket.gettimeout()
        old = int(self._socket.detach())
        self._socket._sslobj = tls
        socket.socket.__init__(self._socket, *self._kind, fileno=fd)
        self._socket.settimeout(timeout)
        return old

    def pending(self) -> bool:
        return bool(self._tls.pending())

    def put_back(self) -> None:
        os.close(self._swap(self._fd, self._tls))
        self._peer.close()

    def client(self) -> TakenClient:
        return _TakenTLSClient(self)

    async def revive(self, timeout: float = 10.0) -> socket.socket:
        """Wait until the server has closed its socket, and make that the client's again."""
        loop = asyncio.get_running_loop()
        peer = self._peer.ours
        peer.setblocking(False)
        async with asyncio.timeout(timeout):
            with suppress(ConnectionError):
                while await loop.sock_recv(peer, 4096):
                    pass  # the server's own response
            while self._socket.fileno() != -1:  # servers shut down first, then close
                await asyncio.sleep(0.002)
        peer.close()
        client: socket.socket = self._socket
        socket.socket.__init__(client, *self._kind, fileno=self._fd)
        client.setblocking(False)
        self._socket._sslobj = self._tls
        return client

    def abandon(self) -> None:
        os.close(self._fd)
        self._peer.close()


class _TakenTLSClient(TakenClient):
    """A TLS client comes back when the server has closed its end."""

    def __init__(self, taking: _TLSTaking) -> None:
        self._taking: _TLSTaking | None = taking

    @property
    def descriptor(self) -> None:
        return None

    async def socket(self) -> socket.socket:
        assert self._taking is not None
        taking, self._taking = self._taking, None
        try:
            return await taking.revive()
        except BaseException:
            taking.abandon()
            raise

    def finish(self) -> None:
        """The dead peer is what tells us that the server has finished; it stays until then."""

    def close(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.abandon()
