"""A limit to the pages that wait for the server's loop, so that other pages find a thread.

A WSGI server has a few request threads. While an application takes long or blocks the loop, each
page that needs a session would occupy one of them until ``BOKEH_PULL_TIMEOUT`` is over.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import LimitError
from .gevent import gevent_patched, unpatched

__all__ = ("PATIENCE", "LongWaits")

PATIENCE = 2.0
"""Seconds after which a wait counts as long."""


class LongWaits:
    """Counts the pages that have waited for more than :data:`PATIENCE` seconds. Thread-safe.

    :param limit: the number of such pages at a time; None for no limit. Greenlets are not limited.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = None if gevent_patched() else limit
        self._count = 0
        self._lock = unpatched("_thread", "allocate_lock")()

    def lower(self, limit: int) -> None:
        """Lower the limit to this number, or to 1."""
        if self.limit is not None:
            self.limit = min(self.limit, max(1, limit))

    def check(self) -> None:
        """Refuse a new page at once if the limit has been reached.

        :raises LimitError: naming the setting.
        """
        if self._is_full():
            raise self.refusal()

    def wait(self, wait: Callable[[float], bool], timeout: float) -> bool:
        """Call a function that waits, and count it if it takes long.

        :param wait: waits for the seconds that it is given; returns whether the wait is over.
        :param timeout: seconds in all.
        :returns: whether the wait was over in time.
        :raises LimitError: if it takes long, and too many other pages wait already.
        """
        if wait(min(timeout, PATIENCE)):
            return True
        if not self.begin():
            raise self.refusal()
        try:
            return timeout > PATIENCE and wait(timeout - PATIENCE)
        finally:
            self.end()

    def begin(self) -> bool:
        """Count a page whose wait has become long; return whether it may go on."""
        with self._lock:
            full = self._is_full()
            self._count += not full
        return not full

    def end(self) -> None:
        """Stop counting a page that :meth:`begin` has counted."""
        with self._lock:
            self._count -= 1

    def refusal(self) -> LimitError:
        """Return the error for a page that may not wait."""
        return LimitError(
            "max_waiting_pages",
            self.limit,
            "This site is busy with other visitors' plots. Please try again in a minute.",
        )

    def _is_full(self) -> bool:
        return self.limit is not None and self._count >= self.limit
