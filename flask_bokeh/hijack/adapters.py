"""Hijack the client's connection of a request: one adapter for each WSGI server.

:data:`ADAPTERS` has a row for each server, which says where the server keeps the client's socket.
How a socket is hijacked is the same for all of them: see :mod:`.connection`.
"""

from __future__ import annotations

import io
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..errors import HandoffError
from ..runtime.descriptors import is_below_fd_reserve, max_client_fd
from ..runtime.uwsgi import uwsgi_options
from .connection import HasDescriptor, HijackedConnection, SocketHijack
from .tls import TLSSocketHijack, is_transferable_tls

__all__ = (
    "ADAPTERS",
    "TORNADO_REQUEST_KEY",
    "Adapter",
    "can_hijack",
    "find_adapter",
    "hijack",
    "unsupported_reason",
)

Environ = Mapping[str, Any]

TORNADO_REQUEST_KEY = "flask_bokeh.request"
"""Environ key of the :class:`HijackedConnection` that ``flask bokeh run`` prepares for an upgrade
request; None for other requests."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """The way to the client's socket of one WSGI server."""

    name: str
    """Name of the server, for messages."""

    key: str
    """Key of the WSGI environ that leads to the socket."""

    find_socket: Callable[[Environ], HasDescriptor | None]
    """Return the socket, or a file over it; None if the environ is another server's."""

    has_buffered_input: Callable[[Environ], bool]
    """True if the server has read bytes that the client sent after its request head.

    This is called when the server has its placeholder socket already, so that reading cannot
    block. It is False where middleware has replaced ``wsgi.input``, which leads to the server's
    buffer. The buffered bytes are lost then; only a client that violates RFC 6455 sends any."""

    terminates_tls: Callable[[Environ], bool] = lambda _: False
    """True if the server terminates TLS in a way that cannot be hijacked."""


def can_hijack(environ: Environ) -> bool:
    """True if the client's connection of this request can be hijacked."""
    return TORNADO_REQUEST_KEY in environ or find_adapter(environ) is not None


def unsupported_reason(environ: Environ) -> str:
    """Return why :func:`can_hijack` is false for this request, and what to do; for the log."""
    software = str(environ.get("SERVER_SOFTWARE") or "This WSGI server")
    for adapter in ADAPTERS:
        if software.lower().startswith(adapter.name.lower()):
            return (
                f"{adapter.name} hands out its clients' sockets through {adapter.key!r} in the "
                "WSGI environ, which middleware has removed or replaced. Let that middleware pass "
                "requests with an Upgrade header unchanged, or set BOKEH_TRANSPORT = 'port'."
            )
    names = ", ".join(adapter.name for adapter in ADAPTERS)
    return (
        f"{software} does not hand out its clients' sockets, so plots can't use its port. "
        f"Use a server that does ({names}), or set BOKEH_TRANSPORT = 'port' "
        "(see 'flask bokeh check')."
    )


def find_adapter(environ: Environ) -> Adapter | None:
    """Return the adapter of the server that made this environ; None if it has none."""
    return next((one for one in ADAPTERS if one.find_socket(environ) is not None), None)


def hijack(environ: Environ, *, across_processes: bool = False) -> HijackedConnection:
    """Take the client's connection from the WSGI server.

    The caller then answers the request with an empty response: see :class:`HijackedConnection`.

    :param across_processes: whether the connection is for another process, which excludes TLS.
    :raises HandoffError: if the connection cannot be hijacked, or if the client has sent bytes
        that a WebSocket client may not send yet (RFC 6455, section 4.1). The WSGI server has the
        client then.
    """
    _check_request(environ)
    if TORNADO_REQUEST_KEY in environ:
        return _hijack_request(environ[TORNADO_REQUEST_KEY], across_processes)
    adapter = find_adapter(environ)
    if adapter is None:
        raise HandoffError(unsupported_reason(environ), HTTPStatus.NOT_IMPLEMENTED)
    server_socket = adapter.find_socket(environ)
    assert server_socket is not None  # or find_adapter() would have returned another one
    _check_tls(adapter, environ, server_socket, across_processes)
    try:
        socket_hijack = _hijack_socket(server_socket)
    except OSError as error:
        raise HandoffError(
            f"No descriptor is left for another socket: {error}.", HTTPStatus.SERVICE_UNAVAILABLE
        ) from error
    try:
        _check_fd_reserve(socket_hijack.fileno())
        # This may read once from the server's descriptor, which is the silent placeholder by now.
        if socket_hijack.has_pending_data() or adapter.has_buffered_input(environ):
            raise HandoffError(
                "The client sent data before the WebSocket was open.", HTTPStatus.BAD_REQUEST
            )
    except BaseException:  # gevent's Timeout is no Exception
        socket_hijack.restore()
        raise
    return HijackedConnection(socket_hijack)


def _check_request(environ: Environ) -> None:
    """:raises HandoffError: if this request cannot open a WebSocket (RFC 6455, section 4.1)."""
    if environ.get("REQUEST_METHOD", "GET") != "GET":  # Flask also routes HEAD to a GET view
        raise HandoffError("A WebSocket is opened with GET.", HTTPStatus.BAD_REQUEST)
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandoffError(
            "A request that opens a WebSocket can't have a body.", HTTPStatus.BAD_REQUEST
        )
    if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):
        raise HandoffError("A WebSocket is opened with HTTP/1.1.", HTTPStatus.BAD_REQUEST)


def _hijack_request(connection: HijackedConnection, across_processes: bool) -> HijackedConnection:
    if across_processes:
        raise HandoffError(
            "The pulled session lives in another process, and 'flask bokeh run' uses only one: "
            "give each site that it serves a key of its own.",
            HTTPStatus.NOT_IMPLEMENTED,
        )
    _check_fd_reserve(connection.fileno())
    return connection


def _check_tls(
    adapter: Adapter, environ: Environ, server_socket: HasDescriptor, across_processes: bool
) -> None:
    """:raises HandoffError: if this connection cannot be hijacked because of its TLS."""
    tls = isinstance(server_socket, ssl.SSLSocket)
    if tls and across_processes:
        raise HandoffError(
            "The pulled session lives in another worker, and a TLS connection can't be passed to "
            "another process. Terminate TLS in a proxy in front, or use one worker.",
            HTTPStatus.NOT_IMPLEMENTED,
        )
    if adapter.terminates_tls(environ) or (tls and not is_transferable_tls(server_socket)):
        raise HandoffError(
            f"{adapter.name} terminates TLS itself here, and such a connection can't be hijacked. "
            "Terminate TLS in a proxy in front, or set BOKEH_TRANSPORT = 'port'.",
            HTTPStatus.NOT_IMPLEMENTED,
        )


def _hijack_socket(server_socket: HasDescriptor) -> SocketHijack | TLSSocketHijack:
    """:raises OSError: if no descriptor is left."""
    if isinstance(server_socket, ssl.SSLSocket):
        return TLSSocketHijack(server_socket)
    return SocketHijack(server_socket)


def _check_fd_reserve(number: int) -> None:
    """:raises HandoffError: if this descriptor is in the reserve for the rest of the process."""
    if not is_below_fd_reserve(number):
        raise HandoffError(
            f"The descriptor {number} is one of the last: plots may use those up to "
            f"{max_client_fd()}. Raise the limit of the process (ulimit -n), or lower "
            "BOKEH_MAX_SESSIONS.",
            HTTPStatus.SERVICE_UNAVAILABLE,
        )


# --- one row for each server; tests/test_servers.py runs all of them --------------------------


@dataclass(frozen=True, slots=True)
class _Descriptor:
    number: int

    def fileno(self) -> int:
        return self.number


def _werkzeug_has_buffered_input(environ: Environ) -> bool:
    body = environ.get("wsgi.input")
    if not isinstance(body, io.BufferedReader) or not isinstance(body.raw, socket.SocketIO):
        return False
    return bool(body.peek(1))


def _gunicorn_has_buffered_input(environ: Environ) -> bool:
    body: Any = environ.get("wsgi.input")
    if not type(body).__module__.startswith("gunicorn."):
        return False
    return bool(body.reader.unreader.buf.getvalue())


def _waitress_channel(environ: Environ) -> Any:
    # Waitress puts a method of its channel here, so applications can ask if the client is gone.
    return getattr(environ.get("waitress.client_disconnected"), "__self__", None)


def _waitress_has_buffered_input(environ: Environ) -> bool:
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


def _uwsgi_terminates_tls(environ: Environ) -> bool:
    return environ.get("HTTPS") == "on" and "https-socket" in uwsgi_options()


# Checked on Werkzeug 3.1.9, gunicorn 27.0.1 (sync, gthread, gevent), waitress 3.0.2,
# cheroot 11.1.2 and uWSGI 2.0.30.
ADAPTERS = (
    Adapter(
        "Werkzeug",
        "werkzeug.socket",
        lambda environ: environ.get("werkzeug.socket"),
        _werkzeug_has_buffered_input,
    ),
    Adapter(
        "gunicorn",
        "gunicorn.socket",
        lambda environ: environ.get("gunicorn.socket"),
        _gunicorn_has_buffered_input,
    ),
    Adapter(
        "waitress",
        "waitress.client_disconnected",
        lambda environ: getattr(_waitress_channel(environ), "socket", None),
        _waitress_has_buffered_input,
    ),
    Adapter(
        "cheroot",
        "wsgi.input",
        _cheroot_reader,
        lambda environ: bool(_cheroot_reader(environ).has_data()),
        lambda environ: environ.get("HTTPS") == "on",
    ),
    # uWSGI either discards bytes that came with the request head, or its router sends them after
    # the socket was hijacked, when they are the client's first WebSocket frame.
    Adapter("uWSGI", "uwsgi.version", _uwsgi_descriptor, lambda _: False, _uwsgi_terminates_tls),
)
