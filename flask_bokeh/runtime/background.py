"""A few threads for work that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress

__all__ = ("BackgroundThreads",)

_THREADS = 4
"""A logout may wait some seconds for a frozen worker: others need not wait with it."""


class BackgroundThreads:
    """Threads that are started on first use and end with the server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._pending: set[Future[None]] = set()

    def run(self, work: Callable[[], None]) -> None:
        """Run a function on one of the threads, and do not wait.

        While Python exits, no thread can be started, and the function runs on this one.
        """
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, "flask_bokeh logout")
            future: Future[None] | None = None
            with suppress(RuntimeError):
                future = self._threads.submit(work)
                self._pending.add(future)
        if future is None:
            work()
        else:
            future.add_done_callback(self._pending.discard)

    def stop(self, timeout: float) -> None:
        """Let the threads end when they have done their pending work. Idempotent.

        :param timeout: seconds to wait for that.
        """
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            _, pending = wait(set(self._pending), timeout)
            threads.shutdown(wait=not pending)

    def forked(self) -> None:
        """Forget the parent's threads, in a child process."""
        self._lock = threading.Lock()
        self._threads = None
        self._pending = set()
