"""Limits to what the WebSockets of one visitor read before it has been handled.

Tornado reads a frame whole before a handler sees it, so a hundred sockets would be a hundred frames
in memory. Large frames of one visitor are read one after the other. Everything here runs on the
thread of the server's IOLoop. ``_read_bytes`` is Tornado's own, checked on 6.6.1.
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
"""Bytes of a frame that waits until others of its visitor have been read and handled."""
_PATIENCE = 5.0
"""Seconds for which the others wait for one that comes slowly, or whose handling takes long."""
_CONTROL_FRAME = 125
"""Bytes that a ping or a pong has at most (RFC 6455, section 5.5)."""


class ReadLimits:
    """Bytes of each visitor that a server has read and not handled yet."""

    def __init__(self, max_bytes: int) -> None:
        """:param max_bytes: of one visitor's sockets together."""
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def add(self, visitor: str, count: int) -> None:
        """Count bytes that will be held in memory.

        :raises MessageLimitError: if the visitor has too many there.
        """
        if self._held[visitor] + count > self._max_bytes:
            raise MessageLimitError("too many large messages of one visitor wait")
        self._held[visitor] += count

    def remove(self, visitor: str, count: int) -> None:
        """Take off what has been added."""
        self._held[visitor] -= count
        if not self._held[visitor]:
            del self._held[visitor]

    def lock(self, visitor: str) -> asyncio.Lock:
        """Return the lock of those who read a large frame of a visitor."""
        lock = self._reading.get(visitor)
        if lock is None:
            self._reading[visitor] = lock = asyncio.Lock()
        return lock


class SocketReads:
    """Bytes that one WebSocket has read and its handler has not handled yet."""

    def __init__(self, limits: ReadLimits, visitor: str) -> None:
        self._limits = limits
        self._visitor = visitor
        self._held = 0
        self._lock: asyncio.Lock | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def begin(self, count: int) -> None:
        """Wait until so many bytes may be read. What was read before has been handled, or kept.

        :raises MessageLimitError: if the visitor's sockets hold too much already.
        """
        self._let_others_read()
        if count > _LARGE:
            lock = self._limits.lock(self._visitor)
            await lock.acquire()
            self._lock = lock
            if self._closed:  # meanwhile: the read will fail
                self._let_others_read()
                return
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE, self._let_others_read)
        if count > _CONTROL_FRAME:
            self.hold(count)

    def hold(self, count: int) -> None:
        """Count bytes that are kept until the message is complete and handled.

        :raises MessageLimitError: if the visitor's sockets hold too much already.
        """
        if not self._closed:
            self._limits.add(self._visitor, count)
            self._held += count

    def handled(self) -> None:
        """Stop counting what has been read: nothing of it is kept any more."""
        self._limits.remove(self._visitor, self._held)
        self._held = 0

    def close(self) -> None:
        """Let go of everything. Nothing is counted from now on."""
        self._closed = True
        self._let_others_read()
        self.handled()

    def _let_others_read(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class BoundedWebSocket(WebSocketProtocol13):
    """Tornado's WebSocket protocol, which waits before it reads more than it may."""

    def __init__(
        self, protocol: WebSocketProtocol13, reads: SocketReads, refuse: Callable[[object], None]
    ) -> None:
        """:param protocol: the one that the handler would use otherwise.
        :param refuse: called with the reason if too much is held; closes the WebSocket.
        """
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
