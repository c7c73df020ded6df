"""End sessions before their time: those of somebody who has logged out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bokeh.server.session import ServerSession

from .bokeh_compat import HostedServer, disconnect
from .limits import WAIT, Limits, Seat

__all__ = ("Ending",)


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

    async def end(self, seats: list[Seat]) -> None:
        """End the sessions that :meth:`Limits.end` has marked.

        Returns within a second; a session whose application is busy ends when it is done.
        """
        ending = asyncio.ensure_future(self._until_ended(seats))
        self._tasks.add(ending)
        ending.add_done_callback(self._tasks.discard)
        await asyncio.wait([ending], timeout=1)

    async def _until_ended(self, seats: list[Seat]) -> None:
        deadline, pause = time.monotonic() + WAIT, 0.01
        while seats := [seat for seat in seats if self._limits.holds(seat)]:
            server = self._running()
            if server is None or time.monotonic() > deadline:
                break
            for seat in seats:
                # It comes yet while its document is filled, and again if a browser was quick.
                session = self._find(seat.path, seat.session_id)
                if session is not None:
                    disconnect(session, 1008, "the session has been ended")
                    session.request_expiration()
            await server.cleaner.discard_expired()
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
