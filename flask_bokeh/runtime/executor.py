"""Threads for a loop's executor, shared fairly between visitors."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from .gevent import NativeThread, new_future, unpatched

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ("WORK_OWNER", "PrestartedExecutor", "WorkOwner")


@dataclass(frozen=True, slots=True)
class WorkOwner:
    """For whom a task works."""

    visitor: str
    heavy: bool = False
    """Whether it computes for long, so that two at a time would only keep others waiting."""


WORK_OWNER: ContextVar[WorkOwner | None] = ContextVar("flask_bokeh.work_owner", default=None)
"""Owner of the running task: a :class:`PrestartedExecutor` gives each a share of its threads."""


class PrestartedExecutor(ThreadPoolExecutor):
    """An executor for a loop, whose threads all run already, and keep no process from its end.

    Bokeh 3.10 runs applications and callbacks in executors, those at the end of sessions too, and
    from Python 3.12 on no thread can be started any more once the interpreter exits. The threads
    of ``concurrent.futures`` are waited for at that time, also if an application blocks one; and
    gevent replaces them by look-alikes. It is a ThreadPoolExecutor because asyncio wants one.
    """

    def __init__(self, size: int | None = None) -> None:
        """:param size: how many threads; by default as many as asyncio allows."""
        size = size or min(32, (os.cpu_count() or 1) + 4)
        super().__init__(size)
        self.share = max(2, size // 3)
        """Threads that the work of one visitor may have at a time; the rest of it waits."""
        self._lock = unpatched("_thread", "allocate_lock")()
        self._running: dict[WorkOwner, int] = {}
        self._waiting: dict[WorkOwner, deque[Any]] = {}
        self._tasks: Any = unpatched("queue", "SimpleQueue")()
        self._workers = [NativeThread(self._work, f"flask_bokeh-{n}") for n in range(size)]
        for worker in self._workers:
            worker.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = new_future()
        owner = WORK_OWNER.get()
        task = (owner, future, fn, args, kwargs)
        with self._lock:
            if owner is not None:
                running = self._running.get(owner, 0)
                if running >= (1 if owner.heavy else self.share):
                    self._waiting.setdefault(owner, deque()).append(task)
                    return future
                self._running[owner] = running + 1
            self._tasks.put(task)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Tell the threads to end when they have done what waits. Waits for none of them."""
        with self._lock:
            for task in (task for tasks in self._waiting.values() for task in tasks):
                self._tasks.put((None, *task[1:]))
            self._waiting.clear()
        for _ in self._workers:
            self._tasks.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the threads, for so many seconds in all."""
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            owner, future, function, args, kwargs = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001  # as any executor, for the waiter
                    future.set_exception(error)
            del task, future, function, args, kwargs  # or they would live until the next one
            if owner is not None:
                self._next(owner)

    def _next(self, owner: WorkOwner) -> None:
        """Pass the thread on to what waits for the same visitor."""
        with self._lock:
            waiting = self._waiting.get(owner)
            if waiting:
                self._tasks.put(waiting.popleft())
                return
            self._waiting.pop(owner, None)
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]
