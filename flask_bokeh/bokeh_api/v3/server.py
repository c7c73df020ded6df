"""The few places where we reach behind Bokeh's public API, and where its versions differ.

Checked on Bokeh 3.9.2 and 3.10.2; ``tests/test_bokeh_compat.py`` fails when one of them
moves. Everything here runs on the thread of the server's IOLoop.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from typing import Any

from bokeh.application import Application
from bokeh.server.auth_provider import AuthModule, NullAuth
from bokeh.server.server import Server
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from ...runtime.executor import PrestartedExecutor
from ...security.limits import Limits
from ...security.tokens import TokenIssuer
from ...settings import Settings
from .message_inspector import MessageInspector
from .message_limits import MessageLimits
from .session_cleaner import NEVER, SessionCleaner, check_interval, gc_frozen
from .websocket import open_sockets_only

__all__ = (
    "BokehServer",
    "disconnect",
    "make_server",
    "stop_server",
)


class BokehServer(Server):
    """Bokeh's server, with a name for the Tornado application inside it."""

    cleaner: SessionCleaner
    """Ends sessions whose time is over."""
    _threads: PrestartedExecutor | None = None

    @property
    def tornado(self) -> BokehTornado:
        """Private in Bokeh (``Server._tornado``), and needed to serve handed-over sockets."""
        return self._tornado

    def use_own_threads(self) -> None:
        """Run the pool of Bokeh 3.10, which fills documents and runs callbacks, on our threads."""
        if (runner := getattr(self._tornado, "_executor", None)) is not None:
            runner._executor = self._threads = PrestartedExecutor()

    def end_threads(self) -> None:
        """Tell the threads to end. From any thread; again does no harm."""
        if self._threads is not None:
            self._threads.shutdown()

    async def until_threads_end(self) -> None:
        """Wait a little for the threads, which have been told to end."""
        if self._threads is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._threads.join, 0.5)


def make_server(
    applications: Mapping[str, Application],
    settings: Settings,
    limits: Limits,
    tokens: TokenIssuer,
    io_loop: IOLoop,
) -> BokehServer:
    """Make and start the server that ``bokeh serve`` would run with the same settings.

    Bokeh 3.10 has ``Server.from_settings`` for the settings that are not plain keywords;
    Settings has read and merged the same ones, so on 3.9 they are passed directly.
    """
    lifetime = settings.unused_session_lifetime
    interval = check_interval(
        lifetime, settings.server_options.get("check_unused_sessions_milliseconds")
    )
    keywords: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": 0,
        "use_index": False,
        **settings.server_options,
        "check_unused_sessions_milliseconds": NEVER,  # see SessionCleaner
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
    factory = getattr(BokehServer, "from_settings", BokehServer)
    try:
        server: BokehServer = factory(applications, io_loop=io_loop, **keywords)
    except OSError as error:
        _close_unbound(error)
        raise
    server.use_own_threads()
    allowed = MessageLimits(
        size=settings.max_message_size,
        values=settings.max_message_values,
        events=settings.max_message_events,
        new_models=settings.max_new_models,
    )
    open_sockets_only(server.tornado, limits, tokens, MessageInspector(allowed))
    server.start()
    server.cleaner = SessionCleaner(server.tornado, lifetime, interval)
    server.cleaner.start()
    return server


def _close_unbound(error: OSError) -> None:
    """Close what Tornado's ``bind_sockets`` has open when it raises: the socket that it can't bind,
    and those before it, which listen already. Checked on Tornado 6.4 to 6.6.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is bind_sockets.__code__:
            for unbound in (*frame.f_locals["sockets"], frame.f_locals["sock"]):
                unbound.close()


async def stop_server(server: BokehServer) -> None:
    """Stop the server so that the hooks on_session_destroyed and on_server_unloaded have run.

    Bokeh 3.9 runs only the second kind. Call it when no connection is left.
    """
    server.cleaner.stop()
    with gc_frozen():
        if hasattr(server, "stop_async"):
            try:
                await server.stop_async()
            finally:  # also if that took too long
                server.end_threads()
            return
        for connection in list(server.tornado._clients):  # as 3.10 does: some left unnoticed
            server.tornado.client_lost(connection)
        for session in server.get_sessions():
            session.request_expiration()
        try:
            await server.cleaner.discard_expired(in_turns=False)
        finally:
            server.stop()


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


def _host(origin: str) -> str:
    """Bokeh wants host[:port], without the scheme."""
    return origin.partition("://")[2] or origin
