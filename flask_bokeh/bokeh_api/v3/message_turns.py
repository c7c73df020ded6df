"""Turns on the server's loop, so that one visitor's messages do not delay another's."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ("Turns",)

_BUSY = 5.0
"""Seconds for which the loop counts as shared after a second visitor has used it."""


class Turns:
    """Gives each visitor one turn on the loop at a time, and half of its time at most.

    Messages are parsed on the loop, and Bokeh 3.9 applies them there. The answer to another
    visitor takes some twenty steps of the loop, so one step between two messages is not enough:
    after each turn, its visitor waits for as long as it took. A visitor who is alone does not wait.
    For the loop's thread.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._last = ""
        self._shared_until = 0.0

    async def take(self, visitor: str) -> None:
        """Wait for the visitor's turn, which lasts until the next ``await``."""
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
        loop.call_soon(self._end, visitor, loop.time())

    def _end(self, visitor: str, since: float) -> None:
        loop = asyncio.get_running_loop()
        if since < self._shared_until:
            loop.call_later(loop.time() - since, self._next, visitor)
        else:
            self._next(visitor)

    def _next(self, visitor: str) -> None:
        waiting = self._waiting[visitor]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # it is done if the waiting task was cancelled
                turn.set_result(None)
                return
        del self._waiting[visitor]
