"""Threads, sockets and selectors of the operating system, under gevent's patches, too.

gevent replaces them by look-alikes that take turns on one thread. The Bokeh server needs a
real thread, a loop that waits in the kernel, and real threads for the loop's executor: on a
look-alike, opening a socket took up to 11 s, and Bokeh 3.10 hung. gevent keeps the originals,
and is only asked for them where it is there already; nothing is imported or patched here.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = (
    "NativeThread",
    "gevent_patched",
    "new_event_loop",
    "new_future",
    "unpatched",
)


def gevent_patched() -> bool:
    """Whether gevent has replaced threads in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def unpatched(module: str, name: str) -> Any:
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
            unpatched("_thread", "start_new_thread")(self._run, ())

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
        return asyncio.SelectorEventLoop(unpatched("selectors", "DefaultSelector")())
    return asyncio.new_event_loop()
