"""The Bokeh server and its helpers, on the thread of their loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Mapping

from bokeh.application import Application

from ..bokeh_api import isolate_curdoc, make_server
from ..hijack.upgrade_request import UpgradeRequest
from ..hijack.upgrade_server import UpgradeServer
from ..runtime.close_codes import GOING_AWAY
from ..runtime.lifecycle import logged
from ..runtime.loop import ServerLoop
from ..runtime.tasks import finishes_within
from ..runtime.watchdog import Watchdog
from ..security.limits import Limits
from ..security.tokens import TokenIssuer
from ..settings import Settings
from ..workers.listener import FindDirectory, TransferListener
from .local_closing import LocalSessionCloser
from .port_access import PortAuthorizer

__all__ = ("LoopServer",)

logger = logging.getLogger("flask_bokeh")


class LoopServer:
    """A running Bokeh server, its hijacked sockets, its watchdog and its transfer listener.

    For the loop's thread, except where noted. Creating it starts the server.

    :param find_runtime_dir: finds the folder that the site's workers share; without it, other
        workers can't pass sockets on to this one.
    """

    def __init__(
        self,
        loop: ServerLoop,
        applications: Mapping[str, Application],
        settings: Settings,
        limits: Limits,
        tokens: TokenIssuer,
        worker_id: str,
        find_runtime_dir: FindDirectory | None,
    ) -> None:
        isolate_curdoc()
        self._settings = settings
        self._limits = limits
        authorizer = PortAuthorizer(limits, tokens)
        self.bokeh = make_server(applications, settings, tokens.key, authorizer, loop.io_loop)
        self.upgrades = UpgradeServer(
            self.bokeh.tornado,
            max_write_buffer_size=4 * max(settings.max_message_size, 2**24),
        )
        self.closer = LocalSessionCloser(limits, self.bokeh)
        self._watchdog = Watchdog(
            loop.asyncio_loop.call_soon_threadsafe, settings.slow_callback_duration
        )
        self._watchdog.start()
        self._listener: TransferListener | None = None
        if find_runtime_dir is not None:
            self._listener = TransferListener(find_runtime_dir, worker_id, self)
            self._listener.open(loop.asyncio_loop)

    # --- for the transfer listener ----------------------------------------------------------

    def has_session(self, path: str, session_id: str) -> bool:
        """Return whether a session exists and has not been closed. Thread-safe."""
        exists = self.bokeh.find_session(path, session_id) is not None
        return exists and not self._limits.is_closed(session_id)

    def adopt_socket(self, client: socket.socket, upgrade: UpgradeRequest) -> None:
        """Serve a WebSocket on a client's socket."""
        self.upgrades.adopt(client, upgrade)

    async def close_sessions(self, subject_digests: Collection[str], revoked_at: float) -> int:
        """Close the sessions of a user; return their number."""
        return await self.closer.close_sessions(subject_digests, revoked_at)

    def close_missed_sessions(self) -> None:
        """Start to close the sessions that others have closed while this worker was unreachable."""
        self.closer.close_missed_sessions()

    # --- life cycle -------------------------------------------------------------------------

    async def stop(self) -> None:
        """Close the WebSockets, run the hooks, end the threads.

        Takes 0.8 of ``BOKEH_STOP_TIMEOUT`` seconds at most. A step that raises is logged, and the
        other steps are taken all the same.
        """
        timeout = self._settings.stop_timeout * 0.8
        self.closer.stop()
        with logged("Closing the way for other workers"):
            if self._listener is not None:
                self._listener.close()
        with logged("Stopping the watchdog"):
            self._watchdog.stop()
        with logged("Closing the WebSockets"):
            self.upgrades.close_sockets(GOING_AWAY)
        with logged("Closing the port"):
            self.bokeh.unlisten()
        with logged("Waiting for the WebSockets to close"):
            await finishes_within(self.bokeh.until_disconnected(), timeout / 2)
        with logged("Stopping the Bokeh server"):
            if not await finishes_within(self.bokeh.stop(), timeout / 2):
                logger.warning(
                    "Sessions and hooks did not end within %g s (BOKEH_STOP_TIMEOUT).", timeout
                )
        with logged("Closing the connections"):
            await finishes_within(self.upgrades.close_all_connections(), 0.1)
        self.bokeh.end_threads()
        await self.bokeh.until_threads_end()

    def forked(self) -> None:
        """Close inherited sockets, in a child process: they are the parent's."""
        self.upgrades.forked()
        if self._listener is not None:
            self._listener.forked()
