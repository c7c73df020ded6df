"""The Bokeh server inside this process: start, create sessions, adopt sockets, stop.

It is Bokeh's own server on a :class:`~flask_bokeh.runtime.loop.ServerLoop`. Its port listens on
loopback only and answers to signed tokens only; browsers reach it through
:class:`~flask_bokeh.hijack.upgrade_server.UpgradeServer`, on Flask's port.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from bokeh.application import Application
from bokeh.protocol.exceptions import ProtocolError
from bokeh.server.contexts import ApplicationContext
from bokeh.server.session import ServerSession
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine

from ..bokeh_api.v3.curdoc import isolate_curdoc
from ..bokeh_api.v3.server import BokehServer, make_server, stop_server
from ..errors import ServerStartError, ServerStoppedError, WaitTimeoutError
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import Upgrade
from ..hijack.upgrade_server import UpgradeServer
from ..runtime.executor import WORK_OWNER, WorkOwner
from ..runtime.lifecycle import logged
from ..runtime.long_waits import LongWaits
from ..runtime.loop import ServerLoop, finishes_within
from ..runtime.watchdog import Watchdog
from ..security.limits import Limits
from ..security.tokens import Token, TokenIssuer
from ..settings import Settings
from ..workers.listener import Folder, TransferListener
from .local_closing import LocalSessionCloser

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("InProcessServer",)

logger = logging.getLogger("flask_bokeh")


class InProcessServer:
    """A running Bokeh server. Belongs to the process that started it."""

    def __init__(
        self,
        loop: ServerLoop,
        settings: Settings,
        limits: Limits,
        tokens: TokenIssuer,
        folder: Folder | None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        """Who has how many sessions here."""
        self.long_waits = LongWaits(settings.max_waiting_pages)
        """Bounds the pages that wait for a session."""
        self.worker_id = secrets.token_urlsafe(9)
        """A random id of this process, for tokens of sessions that live only here."""
        self._settings = settings
        self._tokens = tokens
        self._folder = folder
        self._owner: TransferListener | None = None
        self._watchdog: Watchdog | None = None
        self._server: BokehServer | None = None
        self._upgrades: UpgradeServer | None = None
        self.ending = LocalSessionCloser(limits, lambda: self._server, self.find_session)
        """Ends sessions before their time."""

    @classmethod
    def start(
        cls,
        applications: Mapping[str, Application],
        settings: Settings,
        limits: Limits,
        tokens: TokenIssuer,
        io_loop: IOLoop | None = None,
        folder: Folder | None = None,
    ) -> InProcessServer:
        """Start the server, and return when it is ready.

        :param folder: finds where to meet the site's other workers.
        :param io_loop: a loop that the caller runs; without it, a thread is started. Called
            on the thread of that loop, this does not need it to run yet.
        :raises ServerStartError: with the cause, within ``BOKEH_START_TIMEOUT`` seconds.
        """
        loop = ServerLoop(io_loop)
        self = cls(loop, settings, limits, tokens, folder)
        timeout = settings.start_timeout
        try:
            loop.start(timeout)
            if loop.on_loop_thread() or not loop.is_running():
                self._make(applications)
            else:
                making = loop.submit(self._make_on_loop, applications)
                loop.wait(making, what="its start", timeout=timeout, cancel=False)
        except WaitTimeoutError as error:
            making.add_done_callback(self._abandon)
            raise ServerStartError(
                f"The Bokeh server did not start within {timeout:g} s (BOKEH_START_TIMEOUT). Look "
                "for an on_server_loaded hook that takes long."
            ) from error
        except ServerStartError:
            loop.stop(settings.stop_timeout)
            raise
        except Exception as error:
            loop.stop(settings.stop_timeout)
            raise ServerStartError(
                f"The Bokeh server did not start: {type(error).__name__}: {error}"
            ) from error
        logger.info("Bokeh server started on %s", self.url or "a unix socket")
        return self

    @property
    def url(self) -> str | None:
        """The server's own address, without a slash at the end; None on a unix socket."""
        server = self._running()
        if server.port is None:
            return None
        scheme = "https" if self._settings.ssl_certfile else "http"
        return f"{scheme}://{server.address or 'localhost'}:{server.port}"

    @property
    def port(self) -> int | None:
        """The server's own port."""
        return self._running().port

    @property
    def open_sockets(self) -> int:
        """How many handed-over sockets are open."""
        return self._upgrades.open_sockets if self._upgrades else 0

    def find_session(self, path: str, session_id: str) -> ServerSession | None:
        """A session, if it lives here. From any thread; use it on the loop."""
        try:
            return self._running().get_session(path, session_id)  # type: ignore[arg-type]
        except ProtocolError:
            return None

    async def create_session(self, token: Token, headers: Mapping[str, str]) -> ServerSession:
        """Create the token's session, or find it. On the loop.

        :param headers: what the application sees as the headers of the request.
        """
        path = token.visit.path
        WORK_OWNER.set(WorkOwner(token.subject or token.visit.session_id))
        try:
            start_line = RequestStartLine("GET", path, "HTTP/1.1")
            request = HTTPServerRequest(start_line=start_line, headers=HTTPHeaders(dict(headers)))
        except HTTPInputError:  # what the client sent is no Host, or missing: leave it all out
            start_line = RequestStartLine("GET", path, "HTTP/1.0")
            request = HTTPServerRequest(start_line=start_line, headers=HTTPHeaders())
        return await self.context(path).create_session_if_needed(
            token.visit.session_id,  # type: ignore[arg-type]
            request,
            token.encoded,
        )

    def context(self, path: str) -> ApplicationContext:
        """Bokeh's context of an application."""
        return self._running().tornado.applications[path]

    def adopt(self, client: HijackedConnection, upgrade: Upgrade) -> None:
        """Serve a client who was taken from the WSGI server. From any thread; does not wait.

        :raises ServerStoppedError: if the server does not run; the client is still the caller's.
        """

        async def adopt() -> None:
            try:
                if self._upgrades is not None:
                    await client.hand_to(self._upgrades, upgrade)
            except TimeoutError:
                logger.warning("The WSGI server did not let go of a client's TLS socket.")
            except Exception:
                logger.exception("A client's socket could not be served.")
            finally:
                client.close()
            await client.until_released()

        self.loop.submit(adopt)
        client.commit()

    def forked(self) -> None:
        """In a child process: what clients and other workers hold is ours alone."""
        if self._upgrades is not None:
            self._upgrades.forked()
        if self._owner is not None:
            self._owner.forked()

    def stop(self) -> None:
        """Close the sockets, run the hooks, end the thread. Not from the loop's thread.

        Takes ``BOKEH_STOP_TIMEOUT`` seconds at most; what could not be done is logged.
        """
        server, timeout = self._server, self._settings.stop_timeout
        if server is None:
            return
        if self.loop.has_been_left():
            if not self.loop.run_on_stopped_loop(self.stop_async, timeout):
                logger.warning("The loop of the Bokeh server has ended before it: no hooks ran.")
            return
        deadline = time.monotonic() + timeout
        try:
            self.loop.call(self.stop_async, what="the Bokeh server to stop", timeout=timeout)
        except TimeoutError as error:
            logger.warning("The Bokeh server did not stop in time, and was left. %s", error)
        finally:
            server.end_threads()  # if it had no time to do so itself
            if not self.loop.stop(max(0.1, deadline - time.monotonic())):
                logger.warning("The Bokeh server's thread is blocked by an application.")

    async def stop_async(self) -> None:
        """The same, on the loop, for a loop that the caller owns.

        Each step is taken, whatever those before it raise.
        """
        server, self._server = self._server, None
        upgrades, self._upgrades = self._upgrades, None
        if server is None or upgrades is None:
            return
        timeout = self._settings.stop_timeout * 0.8
        with logged("Closing the way for other workers"):
            if self._owner is not None:
                self._owner.close()
        with logged("Stopping the watchdog"):
            if self._watchdog is not None:
                self._watchdog.stop()
        with logged("Closing the WebSockets"):
            upgrades.close_sockets(1001)  # GOING AWAY
        with logged("Closing the port"):
            server.unlisten()
        with logged("Waiting for the WebSockets to close"):
            await finishes_within(self._until_disconnected(server), timeout / 2)
        with logged("Stopping the Bokeh server"):
            if not await finishes_within(stop_server(server), timeout / 2):
                logger.warning(
                    "Sessions and hooks did not end within %g s (BOKEH_STOP_TIMEOUT).", timeout
                )
        with logged("Closing the connections"):
            await finishes_within(upgrades.close_all_connections(), 0.1)
        server.end_threads()
        await server.until_threads_end()

    def _abandon(self, _: Future[None]) -> None:
        """End a server that has started too late."""

        async def abandon() -> None:
            await self.stop_async()
            self.loop.end()

        with suppress(ServerStoppedError):
            self.loop.submit(abandon)

    async def _make_on_loop(self, applications: Mapping[str, Application]) -> None:
        self._make(applications)

    def _make(self, applications: Mapping[str, Application]) -> None:
        io_loop = self.loop.io_loop
        if io_loop is None:
            raise ServerStoppedError("The Bokeh server's loop is not running.")
        isolate_curdoc()
        self._server = make_server(applications, self._settings, self.limits, self._tokens, io_loop)
        self._upgrades = UpgradeServer(
            self._server.tornado,
            max_write_buffer_size=4 * max(self._settings.max_message_size, 2**24),
        )
        self._watchdog = Watchdog(
            self.loop.asyncio_loop.call_soon_threadsafe, self._settings.blocked_after
        )
        self._watchdog.start()
        if self._folder is not None:
            self._meet(self._folder, self._upgrades)

    def _meet(self, folder: Folder, upgrades: UpgradeServer) -> None:
        """Let the site's other workers pass sockets on to this one, and tell of logouts."""

        def holds(path: str, session_id: str) -> bool:
            lives = self.find_session(path, session_id) is not None
            return lives and not self.limits.has_ended(session_id)

        self._owner = TransferListener(
            folder,
            self.worker_id,
            holds=holds,
            adopt=upgrades.adopt,
            close=self.ending.end_user,
            found_again=self.ending.end_missed,
        )
        self._owner.open(self.loop.asyncio_loop)

    def _running(self) -> BokehServer:
        if self._server is None:
            raise ServerStoppedError("The Bokeh server of this process is not running.")
        return self._server

    @staticmethod
    async def _until_disconnected(server: BokehServer) -> None:
        while any(session.connection_count for session in server.get_sessions()):
            await asyncio.sleep(0.01)
