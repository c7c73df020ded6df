"""A bound for the pages that wait for the server's loop, so that others find a thread.

A WSGI server has a few request threads. While an application takes long or blocks the loop, each
page that needs a session would hold one of them until ``BOKEH_PULL_TIMEOUT`` is over.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import LimitError
from .gevent import gevent_patched, unpatched

__all__ = ("PATIENCE", "LongWaits")

PATIENCE = 2.0
"""Seconds that a page may wait before it counts."""


class LongWaits:
    """Counts the pages that have waited for more than :data:`PATIENCE` seconds. For any thread."""

    def __init__(self, most: int | None) -> None:
        """:param most: how many there may be; None for no limit. Greenlets are not limited."""
        self.most = None if gevent_patched() else most
        self._count = 0
        self._lock = unpatched("_thread", "allocate_lock")()

    def lower(self, most: int) -> None:
        """Lower the limit to this number, or to 1."""
        if self.most is not None:
            self.most = min(self.most, max(1, most))

    def check(self) -> None:
        """Refuse another page at once while as many wait as may.

        :raises LimitError: naming the setting.
        """
        if self._is_full():
            raise self.refusal()

    def wait(self, wait: Callable[[float], bool], timeout: float) -> bool:
        """Wait with a function that takes seconds and returns whether the wait is over.

        :param timeout: seconds, in all.
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
        """Count a page that has waited for so long already; return whether it may go on."""
        with self._lock:
            full = self._is_full()
            self._count += not full
        return not full

    def end(self) -> None:
        """Count a page no more that :meth:`begin` has counted."""
        with self._lock:
            self._count -= 1

    def _is_full(self) -> bool:
        return self.most is not None and self._count >= self.most

    def refusal(self) -> LimitError:
        """Return the error for a page that may not wait."""
        return LimitError(
            "max_waiting_pages",
            self.most,
            "This site is busy with other visitors' plots. Please try again in a minute.",
        )
