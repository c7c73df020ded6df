"""Turns of the server's loop, so that one visitor's messages do not crowd out another's."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ("Turns",)

_BUSY = 5.0
"""Seconds for which the loop counts as shared after two visitors have used it."""


class Turns:
    """Lets each visitor do one thing on the loop at a time, and leave as much time for others.

    Messages are parsed on the loop, and Bokeh 3.9 applies them there. An answer takes some
    twenty steps of the loop, so it is not enough that others come in between two messages: after
    each, its visitor waits for as long as it took. Who is alone does not wait. Only on the loop's
    thread.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._last = ""
        self._shared_until = 0.0

    async def take(self, visitor: str) -> None:
        """Wait until the visitor may use the loop, which lasts until the next ``await``."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(visitor)
        if waiting is not None:
            turn: asyncio.Future[None] = loop.create_future()
            waiting.append(turn)
            await turn
        else:
            self._waiting[visitor] = deque()
        if visitor != self._last:
            self._shared_until = loop.time() + _BUSY if self._last else 0.0
            self._last = visitor
        loop.call_soon(self._used, visitor, loop.time())

    def _used(self, visitor: str, since: float) -> None:
        loop = asyncio.get_running_loop()
        if since < self._shared_until:
            loop.call_later(loop.time() - since, self._next, visitor)
        else:
            self._next(visitor)

    def _next(self, visitor: str) -> None:
        waiting = self._waiting[visitor]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)
                return
        del self._waiting[visitor]
