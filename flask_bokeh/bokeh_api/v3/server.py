"""Bokeh's own server, made with the settings of the site and stopped so that all hooks run.

Private attributes of Bokeh are used here; checked on Bokeh 3.9.2 and 3.10.2. Everything here runs
on the loop's thread, except where :class:`~flask_bokeh.bokeh_api.interface.BokehServer` says
otherwise.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from typing import Any

from bokeh.application import Application
from bokeh.protocol.exceptions import ProtocolError
from bokeh.server.auth_provider import AuthModule, NullAuth
from bokeh.server.server import Server
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from ...runtime.executor import PrestartedExecutor
from ...settings import Settings
from ..interface import Authorize, BokehServer
from .message_inspector import MessageInspector
from .message_limits import MessageLimits
from .session_cleaner import NEVER, SessionCleaner, check_interval, gc_frozen
from .websocket import serve_websockets_only

__all__ = ("make_server",)


def make_server(
    applications: Mapping[str, Application],
    settings: Settings,
    secret_key: bytes,
    authorize: Authorize,
    io_loop: IOLoop,
) -> BokehServer:
    """Make and start the server that ``bokeh serve`` would run with the same settings.

    :param applications: by path; each is a
        :class:`~flask_bokeh.bokeh_api.interface.ServedApplication`.
    :param secret_key: the key that signs tokens.
    :param authorize: decides which WebSockets are accepted.
    :raises OSError: if the server's own port can't be opened.
    """
    # Bokeh 3.10 has Server.from_settings for settings that are not plain keyword arguments.
    # Settings has read and merged the same ones, so all of them are keyword arguments on 3.9.
    factory = getattr(Server, "from_settings", Server)
    try:
        server: Server = factory(applications, io_loop=io_loop, **_keywords(settings, secret_key))
    except OSError as error:
        _close_unbound(error)
        raise
    lifetime = settings.unused_session_lifetime
    option = settings.server_options.get("check_unused_sessions_milliseconds")
    cleaner = SessionCleaner(server._tornado, lifetime, check_interval(lifetime, option))
    serve_websockets_only(server._tornado, authorize, _inspector(settings))
    return _BokehServer(server, cleaner)


class _BokehServer:
    """Bokeh 3's server, with the methods of :class:`BokehServer`."""

    def __init__(self, server: Server, cleaner: SessionCleaner) -> None:
        self.server = server
        self.cleaner = cleaner
        self._threads = _use_own_threads(server._tornado)
        server.start()
        cleaner.start()

    @property
    def address(self) -> str | None:
        return self.server.address

    @property
    def port(self) -> int | None:
        return self.server.port

    @property
    def tornado(self) -> BokehTornado:
        return self.server._tornado

    def application(self, path: str) -> Application:
        return self.tornado.applications[path].application

    def get_sessions(self) -> list[ServerSession]:
        return self.server.get_sessions()

    def find_session(self, path: str, session_id: str) -> ServerSession | None:
        try:
            return self.server.get_session(path, session_id)  # type: ignore[arg-type]
        except ProtocolError:
            return None

    async def create_session(
        self, path: str, session_id: str, token: str, headers: Mapping[str, str]
    ) -> ServerSession:
        return await self.tornado.applications[path].create_session_if_needed(
            session_id,  # type: ignore[arg-type]
            _request(path, headers),
            token,
        )

    async def discard_expired(self) -> None:
        await self.cleaner.discard_expired()

    async def until_disconnected(self) -> None:
        while any(session.connection_count for session in self.get_sessions()):
            await asyncio.sleep(0.01)

    def unlisten(self) -> None:
        self.server.unlisten()

    async def stop(self) -> None:
        """Bokeh 3.9 would only run the hooks for the unloaded server by itself."""
        self.cleaner.stop()
        with gc_frozen():
            if hasattr(self.server, "stop_async"):
                try:
                    await self.server.stop_async()
                finally:  # also if that was cancelled
                    self.end_threads()
                return
            # Bokeh 3.10 does this for connections whose end it has not noticed.
            for connection in list(self.tornado._clients):
                self.tornado.client_lost(connection)
            for session in self.get_sessions():
                session.request_expiration()
            try:
                await self.cleaner.discard_expired(with_pauses=False)
            finally:
                self.server.stop()

    def end_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()

    async def until_threads_end(self) -> None:
        if self._threads is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._threads.join, 0.5)


def _keywords(settings: Settings, secret_key: bytes) -> dict[str, Any]:
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
        "secret_key": secret_key,
        "generate_session_ids": False,
        "ssl_certfile": settings.ssl_certfile,
        "ssl_keyfile": settings.ssl_keyfile,
        "ssl_password": settings.ssl_password,
        "cookie_secret": settings.cookie_secret,
        "xsrf_cookies": False,  # not those of the environment: there are no forms
        "ico_path": "none",
        "auth_provider": AuthModule(settings.auth_module) if settings.auth_module else NullAuth(),
    }
    if "unix_socket" in settings.server_options:
        del keywords["address"], keywords["port"]
    return keywords


def _host(origin: str) -> str:
    """Return an origin as Bokeh expects it: host[:port], without the scheme."""
    return origin.partition("://")[2] or origin


def _inspector(settings: Settings) -> MessageInspector:
    return MessageInspector(
        MessageLimits(
            size=settings.max_message_size,
            values=settings.max_message_values,
            events=settings.max_message_events,
            new_models=settings.max_new_models,
        )
    )


def _use_own_threads(tornado: BokehTornado) -> PrestartedExecutor | None:
    """Replace the pool of Bokeh 3.10, which fills documents and runs callbacks, by our own."""
    if (runner := getattr(tornado, "_executor", None)) is None:
        return None
    threads = PrestartedExecutor()
    runner._executor = threads
    return threads


def _request(path: str, headers: Mapping[str, str]) -> HTTPServerRequest:
    """Return the request that the application sees."""
    try:
        start_line = RequestStartLine("GET", path, "HTTP/1.1")
        return HTTPServerRequest(start_line=start_line, headers=HTTPHeaders(dict(headers)))
    except HTTPInputError:  # the client's Host header is invalid or missing: show no headers
        start_line = RequestStartLine("GET", path, "HTTP/1.0")
        return HTTPServerRequest(start_line=start_line, headers=HTTPHeaders())


def _close_unbound(error: OSError) -> None:
    """Close the sockets that Tornado's ``bind_sockets`` leaves open when it raises: the one that
    it can't bind, and those before it, which listen already. Checked on Tornado 6.4 to 6.6.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is bind_sockets.__code__:
            for unbound in (*frame.f_locals["sockets"], frame.f_locals["sock"]):
                unbound.close()
