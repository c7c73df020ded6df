"""Turns of the server's loop, so that one visitor's messages do not crowd out another's."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ("Turns",)


class Turns:
    """Lets each visitor start one piece of work in each turn of the loop.

    Bokeh 3.9 applies messages on the loop, and every version parses them there. If a hundred
    sockets of one visitor have something to say, the others are heard after each of it. Who has
    nothing else running does not wait. Only on the loop's thread.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, visitor: str) -> None:
        """Wait for a turn of the loop in which nothing else has been started for this visitor."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(visitor)
        if waiting is None:
            self._waiting[visitor] = deque()
            loop.call_soon(self._end, visitor)
            return
        turn = loop.create_future()
        waiting.append(turn)
        await turn

    def _end(self, visitor: str) -> None:
        waiting = self._waiting[visitor]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._end, visitor)
                return
        del self._waiting[visitor]
