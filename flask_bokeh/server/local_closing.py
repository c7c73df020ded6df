"""End sessions before their time: those of somebody who has logged out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bokeh.server.session import ServerSession

from ..bokeh_api.v3.server import BokehServer, disconnect
from ..security.limits import Limits, Reservation

__all__ = ("LocalSessionCloser",)

logger = logging.getLogger("flask_bokeh")


class LocalSessionCloser:
    """Ends the sessions of one server. On its loop."""

    def __init__(
        self,
        limits: Limits,
        running: Callable[[], BokehServer | None],
        find: Callable[[str, str], ServerSession | None],
    ) -> None:
        """
        :param running: the server, while it runs.
        :param find: a session, by path and id.
        """
        self._limits = limits
        self._running = running
        self._find = find
        self._tasks: set[asyncio.Task[None]] = set()

    async def end_user(self, subject_digests: list[str], then: float) -> int:
        """End the sessions of a user, and say how many: see :meth:`Limits.end`."""
        reservations, count = self._limits.end(subject_digests, then)
        await self.end(reservations)
        return count

    def end_missed(self) -> None:
        """End what has been ended while other workers could not tell this one."""
        reservations, _ = self._limits.end_missed()
        if reservations:
            self._start(reservations).add_done_callback(_log_failure)

    async def end(self, reservations: list[Reservation]) -> None:
        """End the sessions that :meth:`Limits.end` has marked.

        Returns within a second; a session whose application is busy ends when it is done.

        :raises Exception: what went wrong within this second; later, it is logged.
        """
        ending = self._start(reservations)
        await asyncio.wait([ending], timeout=1)
        if ending.done():
            ending.result()
        else:
            ending.add_done_callback(_log_failure)

    def _start(self, reservations: list[Reservation]) -> asyncio.Task[None]:
        ending = asyncio.ensure_future(self._until_ended(reservations))
        self._tasks.add(ending)
        ending.add_done_callback(self._tasks.discard)
        return ending

    async def _until_ended(self, reservations: list[Reservation]) -> None:
        pause = 0.01
        failed: dict[Reservation, Exception] = {}
        while reservations := [
            reservation
            for reservation in reservations
            if reservation not in failed and self._limits.holds(reservation)
        ]:
            server = self._running()
            if server is None:
                break
            for reservation in reservations:
                # It comes yet while its document is filled, and again if a browser was quick.
                session = self._find(reservation.path, reservation.session_id)
                if session is not None:
                    session.request_expiration()
                    try:
                        disconnect(session, 1008, "the session has been ended")
                    except Exception as error:  # noqa: BLE001  # the others must end all the same
                        failed[reservation] = error
            await server.cleaner.discard_expired()
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        if failed:
            raise next(iter(failed.values()))


def _log_failure(ending: asyncio.Task[None]) -> None:
    if not ending.cancelled() and (error := ending.exception()) is not None:
        logger.error("Sessions that have been ended may live on.", exc_info=error)
