"""Log where an application blocks the loop that all plots share."""

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
    """A thread that logs the stack of a loop's thread, once each time that the loop is blocked.

    It calls a function on the loop every second, and notices when that has not run for some time.
    Thread-safe.

    :param call_soon: runs a function on the loop and does not wait; raises RuntimeError when the
        loop is closed.
    :param blocked_after: seconds after which a loop counts as blocked.
    """

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], blocked_after: float
    ) -> None:
        self._call_soon = call_soon
        self._blocked_after = blocked_after
        self._loop_thread_id = 0
        self._last_alive = time.monotonic()
        # Locked until stop(): to acquire it with a timeout is a sleep that can be interrupted.
        self._running = unpatched("_thread", "allocate_lock")()
        self._thread = NativeThread(self._watch, "flask_bokeh-watchdog")

    def start(self) -> None:
        """Start the thread."""
        self._running.acquire()
        self._call_soon(self._note_alive)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for it. Idempotent."""
        if self._running.locked():
            self._running.release()
            if not gevent_patched():  # there, the loop's own thread can't wait for another
                self._thread.join(5)

    def _watch(self) -> None:
        logged = False
        pause = min(1.0, self._blocked_after / 4)
        while not self._running.acquire(timeout=pause):
            blocked = time.monotonic() - self._last_alive
            if blocked < self._blocked_after:
                logged = False
            elif not logged:
                logged = True
                self._log_stack(blocked)
            try:
                self._call_soon(self._note_alive)
            except RuntimeError:  # the loop is closed
                return
        self._running.release()

    def _note_alive(self) -> None:
        self._loop_thread_id = unpatched("_thread", "get_ident")()
        self._last_alive = time.monotonic()

    def _log_stack(self, blocked: float) -> None:
        frame = sys._current_frames().get(self._loop_thread_id)
        if frame is None:
            return
        logger.warning(
            "The Bokeh server's loop has been blocked for %.1f s; no plot of this process answers. "
            "An application or callback computes, sleeps or waits here:\n%s",
            blocked,
            "".join(traceback.format_stack(frame)),
        )
