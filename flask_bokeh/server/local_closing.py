"""Close sessions of this process before their time: those of a user who has logged out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress

from ..bokeh_api import BokehServer, close_websockets
from ..errors import ServerStoppedError
from ..runtime.close_codes import POLICY_VIOLATION
from ..runtime.loop import ServerLoop
from ..security.limits import Limits, Reservation

__all__ = ("LocalClosing", "LocalSessionCloser")

logger = logging.getLogger("flask_bokeh")

_GRACE = 1.0
"""Seconds after which nobody waits any more for a session whose application is busy."""


class LocalSessionCloser:
    """Closes sessions of one Bokeh server. For the loop's thread."""

    def __init__(self, limits: Limits, bokeh: BokehServer) -> None:
        self._limits = limits
        self._bokeh = bokeh
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def close_sessions(self, subject_digests: Collection[str], revoked_at: float) -> int:
        """Close the sessions of a user; return their number. See :meth:`Limits.close`.

        :raises: as :meth:`close`.
        """
        reservations, count = self._limits.close(subject_digests, revoked_at)
        await self.close(reservations)
        return count

    def close_missed_sessions(self) -> None:
        """Start to close the sessions that others have closed while this worker was unreachable."""
        reservations, _ = self._limits.close_revoked()
        if reservations:
            self._start(reservations).add_done_callback(_log_failure)

    async def close(self, reservations: Sequence[Reservation]) -> None:
        """Close the sessions of reservations that :class:`Limits` has marked as closed.

        Returns within a second. A session whose application is busy ends when it is done.

        :raises Exception: any error within this second; later ones are logged.
        """
        closing = self._start(reservations)
        await asyncio.wait([closing], timeout=_GRACE)
        if closing.done():
            closing.result()
        else:
            closing.add_done_callback(_log_failure)

    def stop(self) -> None:
        """Leave all sessions to the server, which closes them as it stops."""
        self._stopped = True

    def _start(self, reservations: Sequence[Reservation]) -> asyncio.Task[None]:
        closing = asyncio.ensure_future(self._until_closed(reservations))
        self._tasks.add(closing)
        closing.add_done_callback(self._tasks.discard)
        return closing

    async def _until_closed(self, reservations: Sequence[Reservation]) -> None:
        pause = 0.01
        failed: dict[Reservation, Exception] = {}
        while reservations := [
            reservation
            for reservation in reservations
            if reservation not in failed and self._limits.is_held(reservation)
        ]:
            if self._stopped:
                break
            for reservation in reservations:
                try:
                    self._close(reservation)
                except Exception as error:  # noqa: BLE001  # close the other sessions all the same
                    failed[reservation] = error
            await self._bokeh.discard_expired()
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        if failed:
            raise next(iter(failed.values()))

    def _close(self, reservation: Reservation) -> None:
        # There is no session yet while its document is filled, and a browser that reconnects at
        # once creates it again: so this is called until the reservation is released.
        session = self._bokeh.find_session(reservation.path, reservation.session_id)
        if session is not None:
            session.request_expiration()
            close_websockets(session, POLICY_VIOLATION, "the session has been ended")


class LocalClosing:
    """Sessions of this process that are being closed. Thread-safe."""

    def __init__(
        self,
        loop: ServerLoop,
        closer: LocalSessionCloser | None,
        reservations: Sequence[Reservation],
        count: int,
    ) -> None:
        """:param closer: None if the server has stopped, and its sessions with it."""
        self.count = count
        """Number of sessions that nobody had closed before."""
        self._loop = loop
        self._future: Future[None] | None = None
        if closer is not None:
            with suppress(ServerStoppedError):
                self._future = loop.submit(closer.close, reservations)

    def wait(self, timeout: float) -> None:
        """Wait until the sessions have ended.

        :param timeout: seconds.
        :raises WaitTimeoutError: if the loop is blocked; they end as soon as it is free.
        :raises Exception: any error of a session that may live on.
        """
        if self._future is not None:
            with suppress(CancelledError):  # the server has stopped, and its sessions with it
                self._loop.wait(
                    self._future, what="a user's sessions to end", timeout=timeout, cancel=False
                )


def _log_failure(closing: asyncio.Task[None]) -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        logger.error("Sessions that should have been closed may live on.", exc_info=error)
