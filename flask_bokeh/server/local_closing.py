"""End sessions before their time: those of somebody who has logged out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bokeh.server.session import ServerSession

from ..bokeh_api.v3.server import HostedServer, disconnect
from ..security.limits import Limits, Seat

__all__ = ("Ending",)

logger = logging.getLogger("flask_bokeh")


class Ending:
    """Ends the sessions of one server. On its loop."""

    def __init__(
        self,
        limits: Limits,
        running: Callable[[], HostedServer | None],
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

    async def end_user(self, digests: list[str], then: float) -> int:
        """End the sessions of a user, and say how many: see :meth:`Limits.end`."""
        seats, count = self._limits.end(digests, then)
        await self.end(seats)
        return count

    def end_missed(self) -> None:
        """End what has been ended while other workers could not tell this one."""
        seats, _ = self._limits.end_missed()
        if seats:
            self._start(seats).add_done_callback(_log_failure)

    async def end(self, seats: list[Seat]) -> None:
        """End the sessions that :meth:`Limits.end` has marked.

        Returns within a second; a session whose application is busy ends when it is done.

        :raises Exception: what went wrong within this second; later, it is logged.
        """
        ending = self._start(seats)
        await asyncio.wait([ending], timeout=1)
        if ending.done():
            ending.result()
        else:
            ending.add_done_callback(_log_failure)

    def _start(self, seats: list[Seat]) -> asyncio.Task[None]:
        ending = asyncio.ensure_future(self._until_ended(seats))
        self._tasks.add(ending)
        ending.add_done_callback(self._tasks.discard)
        return ending

    async def _until_ended(self, seats: list[Seat]) -> None:
        pause = 0.01
        failed: dict[Seat, Exception] = {}
        while seats := [seat for seat in seats if seat not in failed and self._limits.holds(seat)]:
            server = self._running()
            if server is None:
                break
            for seat in seats:
                # It comes yet while its document is filled, and again if a browser was quick.
                session = self._find(seat.path, seat.session_id)
                if session is not None:
                    session.request_expiration()
                    try:
                        disconnect(session, 1008, "the session has been ended")
                    except Exception as error:  # noqa: BLE001  # the others must end all the same
                        failed[seat] = error
            await server.cleaner.discard_expired()
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        if failed:
            raise next(iter(failed.values()))


def _log_failure(ending: asyncio.Task[None]) -> None:
    if not ending.cancelled() and (error := ending.exception()) is not None:
        logger.error("Sessions that have been ended may live on.", exc_info=error)
