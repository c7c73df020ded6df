"""The WSGI servers: where each keeps the client's socket, and how it is taken away.

:data:`ADAPTERS` has one row a server; the rest is one mechanism (:mod:`.taking`).

Nothing here knows Flask, Bokeh, sessions or tokens.
"""

from __future__ import annotations

import io
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import HandoffError
from ..runtime.descriptors import is_below_fd_reserve, max_client_fd
from ..runtime.uwsgi import uwsgi_options
from .connection import HasDescriptor, HijackedConnection, HijackedRequest, SocketHijack
from .tls import TLSSocketHijack, is_transferable_tls

__all__ = (
    "ADAPTERS",
    "TORNADO_REQUEST_KEY",
    "Adapter",
    "adapter_of",
    "can_hijack",
    "hijack",
    "why_it_cannot_hijack",
)

Environ = Mapping[str, Any]

TORNADO_REQUEST_KEY = "flask_bokeh.request"
"""Environ key under which ``flask bokeh run`` keeps its Tornado request."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where one WSGI server keeps the client's socket."""

    name: str
    """The server, for a person."""

    key: str
    """What in the WSGI environ leads to the socket."""

    find: Callable[[Environ], HasDescriptor | None]
    """The socket, or anything with its descriptor; None if this is another server."""

    has_buffered_input: Callable[[Environ], bool]
    """Whether bytes that the client sent behind its request head wait in a buffer of the
    server's. Asked when the descriptor is a dead peer already, so that looking can't block.

    False where middleware has replaced ``wsgi.input``, and with it the way to that buffer. What
    waits there is lost then, which only a client that breaks RFC 6455 would notice."""

    terminates_tls: Callable[[Environ], bool] = lambda _: False
    """Whether the server ends TLS on this connection, in a way that can't be taken over."""


# --- one row a server; tests/test_servers.py runs each --------------------------------------


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
    # The method of waitress's that is meant to ask whether the client has gone.
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
    # uWSGI drops what came with the head, or its router sends it on behind the hand-over,
    # where it is the client's first WebSocket frame.
    Adapter("uWSGI", "uwsgi.version", _uwsgi_descriptor, lambda _: False, _uwsgi_terminates_tls),
)


def can_hijack(environ: Environ) -> bool:
    """Whether the server that made this environ lets us have the client's socket."""
    return TORNADO_REQUEST_KEY in environ or adapter_of(environ) is not None


def why_it_cannot_hijack(environ: Environ) -> str:
    """Why the client's socket can't be had, where :func:`can_hijack` says so; for the log."""
    software = str(environ.get("SERVER_SOFTWARE") or "This WSGI server")
    for adapter in ADAPTERS:
        if software.lower().startswith(adapter.name.lower()):
            return (
                f"{adapter.name} hands out its clients' sockets by way of {adapter.key!r} in the "
                "WSGI environ, which middleware has removed or replaced. Let that middleware pass "
                "requests with an Upgrade header on unchanged, or set BOKEH_TRANSPORT = 'port'."
            )
    names = ", ".join(adapter.name for adapter in ADAPTERS)
    return (
        f"{software} does not hand out its clients' sockets, so plots can't come on its port. "
        f"Use a server that does ({names}), or set BOKEH_TRANSPORT = 'port' "
        "(see 'flask bokeh check')."
    )


def adapter_of(environ: Environ) -> Adapter | None:
    """The adapter of the server that made this environ, if it has one."""
    return next((one for one in ADAPTERS if one.find(environ) is not None), None)


def hijack(environ: Environ, *, across_processes: bool = False) -> HijackedConnection:
    """Take the client's socket away from the WSGI server.

    The caller answers the request with an empty response, then calls ``release_wsgi_server``.

    :param across_processes: whether another process is to get it, which TLS does not allow.
    :raises HandoffError: if this server's socket can't be had, or holds bytes that a
        well-behaved WebSocket client would not have sent yet (RFC 6455, section 4.1).
    """
    _check_request(environ)
    if TORNADO_REQUEST_KEY in environ:
        hosted: HijackedRequest = environ[TORNADO_REQUEST_KEY]
        if across_processes:
            raise HandoffError(
                "The pulled session lives in another process, and 'flask bokeh run' is one for "
                "itself: give each site that it serves a key of its own.",
                501,
            )
        _leave_some(hosted.number)
        return hosted
    adapter = adapter_of(environ)
    if adapter is None:
        raise HandoffError(why_it_cannot_hijack(environ), 501)
    found = adapter.find(environ)
    assert found is not None  # or it would be another adapter
    tls = isinstance(found, ssl.SSLSocket)
    if tls and across_processes:
        raise HandoffError(
            "The pulled session lives in another worker, and a connection with TLS can't be "
            "passed on. End TLS in a proxy in front, or use one worker.",
            501,
        )
    if adapter.terminates_tls(environ) or (tls and not is_transferable_tls(found)):
        raise HandoffError(
            f"{adapter.name} ends TLS itself here, and such a connection can't be handed over. "
            "End TLS in a proxy in front, or set BOKEH_TRANSPORT = 'port'.",
            501,
        )
    try:
        taken = _hijack_socket(found)
    except OSError as error:
        raise HandoffError(f"No descriptor is left for another socket: {error}.", 503) from error
    try:
        _leave_some(taken.number)
        # Looking may read once from the descriptor, which is the silent peer by now.
        if taken.pending() or adapter.has_buffered_input(environ):
            raise HandoffError("The client sent data before the WebSocket was open.", 400)
        return taken.client()
    except BaseException:  # gevent's Timeout is one, too
        taken.restore()
        raise


def _hijack_socket(found: HasDescriptor) -> SocketHijack:
    """Put a dead peer in the client's place.

    :raises OSError: if no descriptor is left.
    """
    return TLSSocketHijack(found) if isinstance(found, ssl.SSLSocket) else SocketHijack(found)


def _check_request(environ: Environ) -> None:
    """:raises HandoffError: if this request can't open a WebSocket (RFC 6455, section 4.1)."""
    if environ.get("REQUEST_METHOD", "GET") != "GET":  # Flask answers HEAD where it answers GET
        raise HandoffError("A WebSocket is opened with GET.", 400)
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandoffError("A request that opens a WebSocket can't have a body.", 400)
    if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.1", None):
        raise HandoffError("A WebSocket is opened with HTTP/1.1.", 400)


def _leave_some(number: int) -> None:
    """:raises HandoffError: if the rest of the site needs the few descriptors that are left."""
    if not is_below_fd_reserve(number):
        raise HandoffError(
            f"The descriptor {number} is one of the last: plots get those up to "
            f"{max_client_fd()}. Raise the limit of the process (ulimit -n), or lower "
            "BOKEH_MAX_SESSIONS.",
            503,
        )
