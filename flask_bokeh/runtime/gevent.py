"""Threads, sockets and selectors of the operating system, also where gevent has patched them.

gevent replaces them by greenlets that take turns on one thread. The Bokeh server needs a real
thread, a loop that waits in the kernel, and real threads for the loop's executor: with greenlets,
opening a WebSocket took up to 11 s, and Bokeh 3.10 hung. gevent keeps the originals. This module
imports gevent only where the site has imported it already, and patches nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = (
    "NativeThread",
    "gevent_patched",
    "new_event_loop",
    "new_future",
    "unpatched",
)


def gevent_patched() -> bool:
    """Return whether gevent has replaced threads in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def unpatched(module: str, name: str) -> Any:
    """Return an object of the standard library as it was before gevent replaced it."""
    if gevent_patched():
        return sys.modules["gevent.monkey"].get_original(module, name)
    return getattr(importlib.import_module(module), name)


def new_future() -> Future[Any]:
    """Return a future that passes a result between threads, greenlets included."""
    return _NativeFuture() if gevent_patched() else Future()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop that waits in the kernel."""
    if gevent_patched():
        return asyncio.SelectorEventLoop(unpatched("selectors", "DefaultSelector")())
    return asyncio.new_event_loop()


class NativeThread:
    """A daemon thread of the operating system.

    :param target: the function that it runs.
    :param name: for debuggers and tests.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._ended = new_future()
        self._thread: threading.Thread | None = None
        if not gevent_patched():
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        if self._thread is not None:
            self._thread.start()
        else:
            unpatched("_thread", "start_new_thread")(self._run, ())

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return whether it has ended.

        :param timeout: seconds.
        """
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


class _NativeFuture(Future[Any]):
    """A future that gevent's greenlets and native threads can share.

    If a greenlet and a native thread contend for one of gevent's locks, both may wait for ever
    (seen on gevent 26.9). So the lock is a native one, which is never held for long, and a
    greenlet is woken by an async watcher, which gevent documents as thread-safe.
    ``Future._condition`` is private; checked on CPython 3.11 and 3.12.
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition(unpatched("_thread", "RLock")())

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
