"""Limits to the bytes of one visitor that are in memory and have not been handled.

Tornado reads a whole frame before a handler gets it, so a hundred WebSockets would keep a hundred
frames in memory. Large frames of one visitor are read one after the other. Everything here runs on
the loop's thread. ``_read_bytes`` is private in Tornado; checked on 6.6.1.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from ...errors import MessageLimitError

__all__ = ("BoundedWebSocket", "ReadLimits", "SocketReads")

_LARGE = 2**16
"""Bytes from which on a frame waits until other large frames of its visitor are handled."""
_PATIENCE = 5.0
"""Seconds for which other frames wait for one that arrives slowly or is handled slowly."""
_CONTROL_FRAME = 125
"""Maximum bytes of a ping or a pong (RFC 6455, section 5.5)."""


class ReadLimits:
    """Counts the bytes of each visitor that a server has read and not handled yet.

    :param max_bytes: the limit for all WebSockets of one visitor together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def add(self, visitor: str, count: int) -> None:
        """Count bytes that will be in memory.

        :raises MessageLimitError: if the visitor exceeds the limit.
        """
        if self._held[visitor] + count > self._max_bytes:
            raise MessageLimitError("too many large messages of one visitor wait")
        self._held[visitor] += count

    def remove(self, visitor: str, count: int) -> None:
        """Stop counting bytes that were added."""
        self._held[visitor] -= count
        if not self._held[visitor]:
            del self._held[visitor]

    def lock(self, visitor: str) -> asyncio.Lock:
        """Return the lock for reading a large frame of a visitor."""
        lock = self._reading.get(visitor)
        if lock is None:
            self._reading[visitor] = lock = asyncio.Lock()
        return lock


class SocketReads:
    """Counts the bytes that one WebSocket has read and its handler has not handled yet."""

    def __init__(self, limits: ReadLimits, visitor: str) -> None:
        self._limits = limits
        self._visitor = visitor
        self._held = 0
        self._lock: asyncio.Lock | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def begin(self, count: int) -> None:
        """Wait until bytes may be read. The frame before has been handled, or is kept.

        :raises MessageLimitError: if the visitor exceeds the limit.
        """
        self._release_lock()
        if count > _LARGE:
            lock = self._limits.lock(self._visitor)
            await lock.acquire()
            self._lock = lock
            if self._closed:  # while it waited: the read will fail
                self._release_lock()
                return
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE, self._release_lock)
        if count > _CONTROL_FRAME:
            self.hold(count)

    def hold(self, count: int) -> None:
        """Count bytes that are kept until the message is complete and handled.

        :raises MessageLimitError: if the visitor exceeds the limit.
        """
        if not self._closed:
            self._limits.add(self._visitor, count)
            self._held += count

    def handled(self) -> None:
        """Stop counting all bytes: the message has been handled and is not kept."""
        self._limits.remove(self._visitor, self._held)
        self._held = 0

    def close(self) -> None:
        """Stop counting, for good."""
        self._closed = True
        self._release_lock()
        self.handled()

    def _release_lock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class BoundedWebSocket(WebSocketProtocol13):
    """Tornado's WebSocket protocol, with a wait before each read that exceeds the limits.

    :param protocol: the protocol that the handler would use otherwise.
    :param refuse: closes the WebSocket, given the reason, if the visitor exceeds the limit.
    """

    def __init__(
        self, protocol: WebSocketProtocol13, reads: SocketReads, refuse: Callable[[object], None]
    ) -> None:
        handler: Any = protocol.handler
        super().__init__(handler, protocol.mask_outgoing, protocol.params)
        self._reads = reads
        self._refuse = refuse

    async def _read_bytes(self, n: int) -> bytes:
        try:
            await self._reads.begin(n)
        except MessageLimitError as error:
            self._refuse(error)
            raise StreamClosedError from error
        return await super()._read_bytes(n)
