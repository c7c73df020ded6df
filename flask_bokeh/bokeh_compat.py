"""The few places where we reach behind Bokeh's public API, and where its versions differ.

Checked on Bokeh 3.9.2 and 3.10.2; ``tests/test_bokeh_compat.py`` fails when one of them
moves. Everything here runs on the thread of the server's IOLoop.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bokeh.application import Application
from bokeh.client import ClientSession
from bokeh.server.auth_provider import AuthModule, NullAuth
from bokeh.server.server import Server
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from .bokeh_sockets import open_sockets_only
from .config import Settings
from .limits import Limits
from .native import gevent_patched, warm_executor
from .tokens import TokenIssuer

__all__ = (
    "HostedServer",
    "SignedClientSession",
    "discard_expired",
    "disconnect",
    "make_server",
    "stop_server",
)


class HostedServer(Server):
    """Bokeh's server, with a name for the Tornado application inside it."""

    @property
    def tornado(self) -> BokehTornado:
        """Private in Bokeh (``Server._tornado``), and needed to serve handed-over sockets."""
        return self._tornado


def make_server(
    applications: Mapping[str, Application],
    settings: Settings,
    limits: Limits,
    tokens: TokenIssuer,
    io_loop: IOLoop,
) -> HostedServer:
    """Make and start the server that ``bokeh serve`` would run with the same settings.

    Bokeh 3.10 has ``Server.from_settings`` for the settings that are not plain keywords;
    Settings has read and merged the same ones, so on 3.9 they are passed directly.
    """
    keywords: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": 0,
        "use_index": False,
        # An unused session must not outlive its time by much; Bokeh looks every 17 s.
        "check_unused_sessions_milliseconds": _check_interval(settings.unused_session_lifetime),
        **settings.server_options,
        "unused_session_lifetime_milliseconds": round(settings.unused_session_lifetime * 1000),
        "session_token_expiration": max(1, round(settings.token_expiration)),
        "websocket_max_message_size": settings.max_message_size,
        "allow_websocket_origin": [_host(origin) for origin in settings.allow_ws_origin] or None,
        "sign_sessions": True,
        "secret_key": tokens.key,
        "generate_session_ids": False,
        "ssl_certfile": settings.ssl_certfile,
        "ssl_keyfile": settings.ssl_keyfile,
        "ssl_password": settings.ssl_password,
        "cookie_secret": settings.cookie_secret,
        "xsrf_cookies": settings.xsrf_cookies,
        "ico_path": settings.ico_path,
        "auth_provider": AuthModule(settings.auth_module) if settings.auth_module else NullAuth(),
    }
    if "unix_socket" in settings.server_options:
        del keywords["address"], keywords["port"]
    factory = getattr(HostedServer, "from_settings", HostedServer)
    try:
        server: HostedServer = factory(applications, io_loop=io_loop, **keywords)
    except OSError as error:
        _close_unbound(error)
        raise
    if gevent_patched():
        _use_native_threads(server)
    open_sockets_only(server.tornado, limits, tokens)
    server.start()
    return server


def _close_unbound(error: OSError) -> None:
    """Close what Tornado's ``bind_sockets`` has open when it raises: the socket that it can't bind,
    and those before it, which listen already. Checked on Tornado 6.4 to 6.6.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is bind_sockets.__code__:
            for unbound in (*frame.f_locals["sockets"], frame.f_locals["sock"]):
                unbound.close()


def _use_native_threads(server: HostedServer) -> None:
    """Bokeh 3.10 fills documents and runs callbacks in a pool, whose threads gevent has replaced
    by ones that would wait for a hub on the loop's thread, where none runs.
    """
    runner = getattr(server.tornado, "_executor", None)
    if runner is not None:
        runner._executor = warm_executor()


async def stop_server(server: HostedServer) -> None:
    """Stop the server so that the hooks on_session_destroyed and on_server_unloaded have run.

    Bokeh 3.9 runs only the second kind. Call it when no connection is left.
    """
    with _cheap_collections():
        if hasattr(server, "stop_async"):
            await server.stop_async()
            return
        for session in server.get_sessions():
            session.request_expiration()
        await discard_expired(server)
        server.stop()


async def discard_expired(server: HostedServer) -> None:
    """Destroy the sessions that nobody is connected to and whose time is over, now.

    It is the job that Bokeh runs every 17 seconds, private in name only.
    """
    await server.tornado._cleanup_sessions()


def disconnect(session: ServerSession, code: int, reason: str) -> None:
    """Close the WebSockets of a session, without waiting for what the clients say to it.

    Bokeh keeps a session's connections, and their WebSocket handlers, in private attributes.
    """
    for connection in list(session._subscribed_connections):
        handler: Any = connection._socket
        websocket = handler.ws_connection
        handler.close(code, reason)
        if websocket is not None:
            websocket.stream.close()


@contextmanager
def _cheap_collections() -> Iterator[None]:
    """Bokeh collects garbage twice for each session that ends, 70 ms a time in a process with
    numpy and pandas: 300 sessions would take 40 s to stop. Frozen objects are not looked at.
    """
    frozen_by_us = gc.get_freeze_count() == 0
    gc.freeze()
    try:
        yield
    finally:
        if frozen_by_us:
            gc.unfreeze()


class SignedClientSession(ClientSession):
    """A client session that shows a token of ours instead of minting an unsigned one."""

    def __init__(
        self, session_id: str, token: str, url: str, io_loop: IOLoop, max_message_size: int
    ) -> None:
        self._text = token
        super().__init__(
            session_id=session_id,  # type: ignore[arg-type]
            websocket_url=url,
            io_loop=io_loop,
            max_message_size=max_message_size,
        )

    @property
    def token(self) -> str:
        return self._text

    def wait_until_closed(self) -> None:
        """Run the client's loop until the connection has ended (private on the session)."""
        self._loop_until_closed()


def _check_interval(lifetime: float) -> int:
    return round(1000 * max(0.25, min(17.0, lifetime / 10)))


def _host(origin: str) -> str:
    """Bokeh wants host[:port], without the scheme."""
    return origin.partition("://")[2] or origin
