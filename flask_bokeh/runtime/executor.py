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

__all__ = ("WORK_OWNER", "PrestartedExecutor", "WorkOwner")


@dataclass(frozen=True, slots=True)
class WorkOwner:
    """The visitor that a task works for, and how much work it is."""

    visitor: str
    """A key of the visitor: the tasks of one visitor get one share of the threads together."""
    heavy: bool = False
    """True if the task computes for long. One such task of a visitor runs at a time, because two
    would only keep others waiting."""


WORK_OWNER: ContextVar[WorkOwner | None] = ContextVar("flask_bokeh.work_owner", default=None)
"""The owner of the running task; work without owner is not limited."""


class PrestartedExecutor(ThreadPoolExecutor):
    """An executor for a loop, with daemon threads of the operating system that all run already.

    Bokeh 3.10 runs applications and callbacks in executors, also while sessions end, and from
    Python 3.12 on no thread can be started while the interpreter exits. At that time Python waits
    for the threads of ``concurrent.futures``, even if an application blocks one, and gevent
    replaces them by greenlets. This is a ThreadPoolExecutor because asyncio requires one.

    :param size: number of threads; by default the number that asyncio uses.
    """

    def __init__(self, size: int | None = None) -> None:
        size = size or min(32, (os.cpu_count() or 1) + 4)
        super().__init__(size)
        self.share = max(2, size // 3)
        """Number of threads that one visitor may use at a time; further work waits."""
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
        """Let the threads end when they have done all pending work. Does not wait for them."""
        with self._lock:
            for task in (task for tasks in self._waiting.values() for task in tasks):
                self._tasks.put((None, *task[1:]))
            self._waiting.clear()
        for _ in self._workers:
            self._tasks.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the threads.

        :param timeout: seconds in all.
        """
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            owner, future, function, args, kwargs = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001  # raised where the result is awaited
                    future.set_exception(error)
            del (
                task,
                future,
                function,
                args,
                kwargs,
            )  # or they would stay in memory until the next task
            if owner is not None:
                self._next(owner)

    def _next(self, owner: WorkOwner) -> None:
        """Give the thread to the next task of the same owner."""
        with self._lock:
            waiting = self._waiting.get(owner)
            if waiting:
                self._tasks.put(waiting.popleft())
                return
            self._waiting.pop(owner, None)
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]
