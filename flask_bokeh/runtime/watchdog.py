"""Say where an application blocks the loop that all plots share.

A thread asks the loop every second for a sign of life. If none comes for ``BOKEH_BLOCKED_AFTER``
seconds, the stack of the loop's thread is logged, once for each time that it is blocked.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable

from .gevent import NativeThread, gevent_patched, unpatched

__all__ = ("Watchdog",)

logger = logging.getLogger("flask_bokeh")


class Watchdog:
    """Watches one loop. From any thread."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], after: float) -> None:
        """
        :param call_soon: runs a function on the loop, and does not wait; raises RuntimeError
            when the loop is closed.
        :param after: seconds.
        """
        self._call_soon = call_soon
        self._after = after
        self._loop_thread = 0
        self._seen = time.monotonic()
        # Held until the end: waiting for it is a sleep that can be ended.
        self._running = unpatched("_thread", "allocate_lock")()
        self._thread = NativeThread(self._watch, "flask_bokeh-watchdog")

    def start(self) -> None:
        self._running.acquire()
        self._call_soon(self._alive)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it. Idempotent."""
        if self._running.locked():
            self._running.release()
            if not gevent_patched():  # there, the loop's own thread can't wait for another
                self._thread.join(5)

    def _watch(self) -> None:
        told = False
        pause = min(1.0, self._after / 4)
        while not self._running.acquire(timeout=pause):
            blocked = time.monotonic() - self._seen
            if blocked < self._after:
                told = False
            elif not told:
                told = True
                self._tell(blocked)
            try:
                self._call_soon(self._alive)
            except RuntimeError:  # the loop is closed
                return
        self._running.release()

    def _alive(self) -> None:
        self._loop_thread = unpatched("_thread", "get_ident")()
        self._seen = time.monotonic()

    def _tell(self, blocked: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return
        logger.warning(
            "The Bokeh server's loop has been blocked for %.1f s; no plot of this process answers. "
            "An application or callback computes, sleeps or waits here:\n%s",
            blocked,
            "".join(traceback.format_stack(frame)),
        )
