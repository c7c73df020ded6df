"""Threads, sockets and selectors of the operating system, under gevent's patches, too.

gevent replaces them by look-alikes that take turns on one thread. The Bokeh server needs a
real thread, a loop that waits in the kernel, and real threads for the loop's executor: on a
look-alike, opening a socket took up to 11 s, and Bokeh 3.10 hung. gevent keeps the originals,
and is only asked for them where it is there already; nothing is imported or patched here.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = (
    "WORK_OWNER",
    "NativeThread",
    "WarmExecutor",
    "WorkOwner",
    "gevent_patched",
    "highest_descriptor",
    "leaves_some",
    "new_event_loop",
    "new_future",
    "original",
    "threads_stand_still",
    "uwsgi_options",
)


@dataclass(frozen=True, slots=True)
class WorkOwner:
    """For whom a task works."""

    visitor: str
    heavy: bool = False
    """Whether it computes for long, so that two at a time would only keep others waiting."""


WORK_OWNER: ContextVar[WorkOwner | None] = ContextVar("flask_bokeh.work_owner", default=None)
"""The owner of the running task: a :class:`WarmExecutor` gives each a share of its threads."""


def highest_descriptor() -> int | None:
    """The highest number that a client's descriptor may have, so that some are left for the rest
    of the process: numbers are given out from below. None where there is no limit.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else int(soft) - max(32, int(soft) // 10)


def leaves_some(number: int) -> bool:
    """Whether a client may have the descriptor of this number."""
    highest = highest_descriptor()
    return highest is None or number <= highest


def gevent_patched() -> bool:
    """Whether gevent has replaced threads in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def threads_stand_still() -> bool:
    """Whether this is uWSGI without ``enable-threads``, where threads run in requests only."""
    return "uwsgi" in sys.modules and not uwsgi_options() & {"enable-threads", "threads"}


def uwsgi_options() -> set[str]:
    """The names of the options of uWSGI, which runs this process."""
    options = sys.modules["uwsgi"].opt
    return {key.decode() if isinstance(key, bytes) else key for key in options}


def original(module: str, name: str) -> Any:
    """A name of the standard library as it was before gevent replaced it."""
    if gevent_patched():
        return sys.modules["gevent.monkey"].get_original(module, name)
    return getattr(importlib.import_module(module), name)


def new_future() -> Future[Any]:
    """A future for passing results between threads."""
    return _NativeFuture() if gevent_patched() else Future()


class _NativeFuture(Future[Any]):
    """A future that gevent's greenlets and native threads can share.

    With gevent's locks a greenlet and a native thread that meet on one may both wait for ever
    (seen on gevent 26.9). So the lock is a native one, which nobody holds for long, and a
    greenlet is woken through the one thing that gevent promises to be safe across threads.
    ``Future._condition`` is private; checked on CPython 3.11 and 3.12.
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition(original("_thread", "RLock")())

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            return
        done = importlib.import_module("gevent.event").Event()
        wake = importlib.import_module("gevent").get_hub().loop.async_()
        wake.start(done.set)
        self.add_done_callback(lambda _: wake.send())
        done.wait(timeout)
        wake.stop()


class NativeThread:
    """A daemon thread of the operating system."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._ended = new_future()
        self._thread: threading.Thread | None = None
        if not gevent_patched():
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()
        else:
            original("_thread", "start_new_thread")(self._run, ())

    def join(self, timeout: float) -> bool:
        """Wait, and say whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        try:
            self._ended.result(timeout)
        except TimeoutError:
            return False
        return True

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._ended.set_result(None)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop that waits in the kernel."""
    if gevent_patched():
        return asyncio.SelectorEventLoop(original("selectors", "DefaultSelector")())
    return asyncio.new_event_loop()


class WarmExecutor(ThreadPoolExecutor):
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
        self._lock = original("_thread", "allocate_lock")()
        self._running: dict[WorkOwner, int] = {}
        self._waiting: dict[WorkOwner, deque[Any]] = {}
        self._tasks: Any = original("queue", "SimpleQueue")()
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
