"""A Bokeh server inside this process, on a loop of its own.

Its port is bound to loopback and accepts signed tokens only. Browsers reach it through Flask's
port: see :class:`~flask_bokeh.hijack.upgrade_server.UpgradeServer`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Literal

from ..applications.hosted import HostedApplication
from ..bokeh_api import BokehServer, BokehSession, embed
from ..errors import ServerStartError, ServerStoppedError, WaitTimeoutError
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import UpgradeRequest
from ..runtime.executor import WORK_OWNER, WorkOwner
from ..runtime.long_waits import LongWaits
from ..runtime.loop import ServerLoop
from ..security.limits import Limits
from ..security.principal import Principal
from ..security.tokens import Token, TokenIssuer
from ..settings import Settings
from ..workers.listener import FindDirectory
from .local_closing import LocalClosing
from .loop_server import LoopServer
from .pull_transports import pull_client, pull_direct
from .pulled_session import PulledSession

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("InProcessServer",)

logger = logging.getLogger("flask_bokeh")


class InProcessServer:
    """The :class:`~flask_bokeh.server.backend.ServerBackend` in this process. Thread-safe.

    It belongs to the process that started it.
    """

    def __init__(
        self, loop: ServerLoop, settings: Settings, limits: Limits, tokens: TokenIssuer
    ) -> None:
        self.loop = loop
        self.limits = limits
        """Counts and limits the sessions of this process."""
        self.long_waits = LongWaits(settings.max_waiting_pages)
        """Limits the pages that wait for a session."""
        self.worker_id = secrets.token_urlsafe(9)
        """A random ID of this process, for tokens of sessions that exist only here."""
        self._settings = settings
        self._tokens = tokens
        self._running: LoopServer | None = None

    # --- life cycle -------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        applications: Mapping[str, HostedApplication],
        settings: Settings,
        limits: Limits,
        tokens: TokenIssuer,
        io_loop: IOLoop | None = None,
        find_runtime_dir: FindDirectory | None = None,
    ) -> InProcessServer:
        """Start the server, and return when it is ready.

        :param io_loop: a loop that the caller runs; without it, a thread is started. Called on
            the thread of that loop, this does not need it to run yet.
        :param find_runtime_dir: finds the folder that the site's workers share.
        :raises ServerStartError: with the cause, within ``BOKEH_START_TIMEOUT`` seconds.
        """
        loop = ServerLoop(io_loop)
        self = cls(loop, settings, limits, tokens)
        timeout = settings.start_timeout

        async def start() -> None:
            self._start_on_loop(applications, find_runtime_dir)

        try:
            loop.start(timeout)
            if loop.on_loop_thread() or not loop.is_running():
                self._start_on_loop(applications, find_runtime_dir)
            else:
                starting = loop.submit(start)
                loop.wait(starting, what="its start", timeout=timeout, cancel=False)
        except WaitTimeoutError as error:
            starting.add_done_callback(self._stop_late)
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

    def _start_on_loop(
        self,
        applications: Mapping[str, HostedApplication],
        find_runtime_dir: FindDirectory | None,
    ) -> None:
        self._running = LoopServer(
            self.loop,
            applications,
            self._settings,
            self.limits,
            self._tokens,
            self.worker_id,
            find_runtime_dir,
        )

    def _stop_late(self, _: Future[None]) -> None:
        """Stop a server that has started too late."""

        async def stop() -> None:
            await self.stop_async()
            self.loop.request_stop()

        with suppress(ServerStoppedError):
            self.loop.submit(stop)

    def stop(self) -> None:
        """Close the WebSockets, run the hooks, end the thread. Not from the loop's thread.

        Takes ``BOKEH_STOP_TIMEOUT`` seconds at most; what could not be done is logged.
        """
        running, timeout = self._running, self._settings.stop_timeout
        if running is None:
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
            running.bokeh.end_threads()  # if it had no time to do so itself
            if not self.loop.stop(max(0.1, deadline - time.monotonic())):
                logger.warning("The Bokeh server's thread is blocked by an application.")

    async def stop_async(self) -> None:
        """Stop on the loop, for a loop that the caller owns. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            await running.stop()

    def forked(self) -> None:
        """Close inherited sockets, in a child process: they are the parent's."""
        if self._running is not None:
            self._running.forked()

    def runs_on(self, io_loop: IOLoop) -> bool:
        """Return whether the server runs on this loop."""
        return self.loop.io_loop is io_loop

    def check_may_wait(self, what: str) -> None:
        """:raises LoopThreadError: on the server's own loop, which must not wait for itself."""
        self.loop.check_not_on_loop_thread(what)

    # --- address ----------------------------------------------------------------------------

    @property
    def url(self) -> str | None:
        """The URL of the server's own port, without a slash at the end; None on a unix socket."""
        server = self.bokeh
        if server.port is None:
            return None
        scheme = "https" if self._settings.ssl_certfile else "http"
        return f"{scheme}://{server.address or 'localhost'}:{server.port}"

    @property
    def port(self) -> int | None:
        """The server's own TCP port; None on a unix socket."""
        return self.bokeh.port

    @property
    def open_sockets(self) -> int:
        """Number of open WebSockets of hijacked connections."""
        return 0 if self._running is None else self._running.upgrades.open_sockets

    # --- limits -----------------------------------------------------------------------------

    def check_waiting_pages(self) -> None:
        """:raises LimitError: if as many pages wait for the server as may."""
        self.long_waits.check()

    def limit_waiting_pages(self, count: int) -> None:
        """Let at most this many pages wait at a time, if the setting allows more."""
        self.long_waits.lower(count)

    def check(self, token: Token, principal: Principal) -> None:
        """:raises: as :meth:`Limits.reserve`."""
        self.limits.check(token, principal)

    def reserve(self, token: Token, principal: Principal) -> bool:
        """Reserve the token's session; return whether the reservation is a new one.

        :raises: as :meth:`Limits.reserve`.
        """
        return self.limits.reserve(token, principal)

    def release(self, session_id: str) -> None:
        """Release the reservation of a session that will not be created."""
        self.limits.release(session_id)

    # --- applications and sessions ----------------------------------------------------------

    @property
    def bokeh(self) -> BokehServer:
        """The Bokeh server.

        :raises ServerStoppedError: if it does not run.
        """
        if self._running is None:
            raise ServerStoppedError("The Bokeh server of this process is not running.")
        return self._running.bokeh

    def application(self, path: str) -> HostedApplication:
        """Return a hosted application."""
        application = self.bokeh.application(path)
        assert isinstance(application, HostedApplication)  # the server hosts no others
        return application

    def metadata(self, path: str) -> Mapping[str, Any]:
        """Return the metadata of an application; empty if it has none."""
        metadata: Any = self.application(path).metadata
        return (metadata() if callable(metadata) else metadata) or {}

    def static_folder(self, path: str) -> str | None:
        """Return the folder of an application's static files; None if it has none."""
        return self.application(path).static_path

    def has_session(self, path: str, session_id: str) -> bool:
        """Return whether a session exists."""
        return self.find_session(path, session_id) is not None

    def find_session(self, path: str, session_id: str) -> BokehSession | None:
        """Return a session, for use on the loop's thread; None if it does not exist."""
        return self.bokeh.find_session(path, session_id)

    async def create_session(self, token: Token, headers: Mapping[str, str]) -> BokehSession:
        """Create the token's session, or return it if it exists. On the loop's thread.

        :param headers: the headers of the request that the application sees.
        """
        visit = token.visit
        WORK_OWNER.set(WorkOwner(token.subject or visit.session_id))
        return await self.bokeh.create_session(visit.path, visit.session_id, token.encoded, headers)

    def render_page(self, token: Token, headers: Mapping[str, str], parts: embed.PageParts) -> str:
        """Create the token's session and return the HTML of its page.

        :raises: as :meth:`ServerBackend.render_page`.
        """

        async def render() -> str:
            return embed.page(await self.create_session(token, headers), parts)

        return self.loop.call(
            render,
            what=f"the page of {token.visit.path}",
            timeout=self._settings.pull_timeout,
            long_waits=self.long_waits,
        )

    def pull(
        self, token: Token, headers: Mapping[str, str], transport: Literal["direct", "client"]
    ) -> AbstractContextManager[PulledSession]:
        """Create the token's session, and let the caller edit its document in the block.

        :raises: as :meth:`ServerBackend.pull`.
        """
        timeout = self._settings.pull_timeout
        if transport == "direct":
            return pull_direct(self, token, headers, timeout)
        return pull_client(self, token, timeout, self._settings.max_message_size)

    def adopt(self, client: HijackedConnection, upgrade: UpgradeRequest) -> None:
        """Serve a client's WebSocket. Does not wait.

        :raises ServerStoppedError: if the server does not run; the caller restores the connection.
        """

        async def adopt() -> None:
            try:
                if self._running is not None:
                    await client.hand_to(self._running.upgrades, upgrade)
            except TimeoutError:
                logger.warning("The WSGI server did not release a client's TLS socket.")
            except Exception:
                logger.exception("A client's socket could not be served.")
            finally:
                client.close()
            await client.until_released()

        client.commit()
        self.loop.submit(adopt)

    def close_sessions(self, subject_digests: Collection[str], revoked_at: float) -> LocalClosing:
        """Start to close the sessions of a user. Does not wait.

        :param subject_digests: the values that :attr:`Token.subject` has for the user.
        :param revoked_at: seconds since the epoch; sessions of later pages are not closed.
        """
        reservations, count = self.limits.close(subject_digests, revoked_at)
        closer = None if self._running is None else self._running.closer
        return LocalClosing(self.loop, closer, reservations, count)
