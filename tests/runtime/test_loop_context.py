"""ServerLoop.enter: an async context manager on the loop, entered from a thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    suppress,
)
from typing import TypeVar

import pytest

from flask_bokeh import LimitError, LoopThreadError, ServerStoppedError, WaitTimeoutError
from flask_bokeh.runtime.long_waits import LongWaits
from flask_bokeh.runtime.loop import ServerLoop

T = TypeVar("T")


class Manager:
    """Makes async context managers, and records their events and threads."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.threads: set[int] = set()
        self.exited = threading.Event()

    @asynccontextmanager
    async def __call__(
        self, enter: float = 0, leave: float = 0, opened: asyncio.Event | None = None
    ) -> AsyncIterator[str]:
        """:param enter: seconds that entering takes. :param leave: seconds that leaving takes.

        :param opened: an event that entering waits for.
        """
        self.note("entering")
        try:
            await asyncio.sleep(enter)
            if opened is not None:
                await opened.wait()
            yield "value"
        except BaseException as error:
            self.note(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(leave)
            self.note("left")
            self.exited.set()

    def note(self, event: str) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def loop() -> Iterator[ServerLoop]:
    loop = ServerLoop()
    loop.start(5)
    yield loop
    loop.stop(5)


def enter(
    loop: ServerLoop, manager: AbstractAsyncContextManager[T], timeout: float = 5
) -> AbstractContextManager[T]:
    return loop.enter(
        manager,
        entering="the entry",
        leaving="the exit",
        timeout=timeout,
    )


def test_block_runs_between_entry_and_exit(loop: ServerLoop, manager: Manager) -> None:
    """Entry and exit run on the loop's thread, the block on the caller's."""
    with enter(loop, manager()) as value:
        assert value == "value"
        assert manager.events == ["entering"]
    assert manager.events == ["entering", "left"]
    assert len(manager.threads) == 1
    assert threading.get_ident() not in manager.threads


def test_error_of_the_entry_is_raised(loop: ServerLoop) -> None:
    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        raise LookupError("no entry")
        yield

    with pytest.raises(LookupError, match="no entry"), enter(loop, fails()):
        pytest.fail("the block must not run")


def test_error_of_the_exit_is_raised(loop: ServerLoop) -> None:
    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        yield
        raise LookupError("no exit")

    with pytest.raises(LookupError, match="no exit"), enter(loop, fails()):
        pass


def test_error_of_the_exit_replaces_that_of_the_block(loop: ServerLoop) -> None:
    """The error of the block is the context of the error of the exit, as for any ``with``."""

    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise LookupError("no exit")

    with pytest.raises(LookupError, match="no exit") as caught, enter(loop, fails()):
        raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_error_of_the_block_reaches_the_context_manager(loop: ServerLoop, manager: Manager) -> None:
    """The context manager has been exited when the exception leaves the ``with``."""
    error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught, enter(loop, manager(leave=0.1)):
        raise error
    assert caught.value is error
    assert manager.events == ["entering", "ZeroDivisionError", "left"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_of_the_block_does_not_stop_the_loop(
    loop: ServerLoop, manager: Manager, error: type[BaseException]
) -> None:
    """SystemExit and KeyboardInterrupt cancel the context manager, and stay on the thread."""
    with pytest.raises(error), enter(loop, manager()):
        raise error
    assert manager.exited.wait(60)
    assert manager.events == ["entering", "CancelledError", "left"]
    assert loop.is_running()


def test_suppressed_error_of_the_block_is_still_raised(loop: ServerLoop) -> None:
    """A context manager on another thread can't suppress an exception of the block."""

    @asynccontextmanager
    async def suppresses() -> AsyncIterator[None]:
        with suppress(ZeroDivisionError):
            yield

    with pytest.raises(ZeroDivisionError), enter(loop, suppresses()):
        raise ZeroDivisionError


def test_context_entered_too_late_is_exited_at_once(loop: ServerLoop, manager: Manager) -> None:
    """The time-out is raised in the thread; the exit runs on the loop."""
    opened = asyncio.Event()
    with (
        pytest.raises(WaitTimeoutError, match=r"Waited 0.1 s for the entry"),
        enter(loop, manager(opened=opened), timeout=0.1),
    ):
        pytest.fail("the block must not run")
    assert manager.events == ["entering"]
    loop.asyncio_loop.call_soon_threadsafe(opened.set)
    assert manager.exited.wait(60)
    assert manager.events == ["entering", "CancelledError", "left"]


def test_too_many_long_waits_for_the_entry_are_refused(loop: ServerLoop, manager: Manager) -> None:
    waits = LongWaits(1)
    assert waits.begin()
    waiting = loop.enter(
        manager(enter=30), entering="it", leaving="it", timeout=60, long_waits=waits
    )
    with pytest.raises(LimitError), waiting:
        pytest.fail("the block must not run")
    waits.end()


def test_exit_is_completed_after_its_timeout(loop: ServerLoop, manager: Manager) -> None:
    """The wait ends with a time-out; the context manager's exit is completed on the loop."""
    with (
        pytest.raises(WaitTimeoutError, match=r"Waited 0.1 s for the exit"),
        enter(loop, manager(leave=0.5), timeout=0.1),
    ):
        pass
    assert manager.events == ["entering"]
    assert manager.exited.wait(60)


def test_error_of_the_block_precedes_timeout_of_the_exit(
    loop: ServerLoop, manager: Manager
) -> None:
    """The error of the block is raised, not the time-out."""
    with (
        pytest.raises(ZeroDivisionError),
        enter(loop, manager(leave=0.5), timeout=0.1),
    ):
        raise ZeroDivisionError
    assert manager.exited.wait(60)


def test_loop_that_stops_during_the_entry_ends_the_wait(loop: ServerLoop, manager: Manager) -> None:
    stops = threading.Timer(0.2, loop.request_stop)
    stops.start()
    with (
        pytest.raises(ServerStoppedError, match="while this process waited for the entry"),
        enter(loop, manager(enter=60)),
    ):
        pytest.fail("the block must not run")
    assert manager.exited.wait(60)
    stops.join()


def test_loop_that_stops_in_the_block_cancels_the_context(
    loop: ServerLoop, manager: Manager
) -> None:
    """The context manager is cancelled, and the end of the block raises an error."""
    with (
        pytest.raises(ServerStoppedError, match="while this process waited for the exit"),
        enter(loop, manager()),
    ):
        loop.stop(5)
    assert manager.events == ["entering", "CancelledError", "left"]


def test_loop_that_stops_before_the_entry_ends_the_wait(loop: ServerLoop, manager: Manager) -> None:
    """A task that is cancelled before its first step does not leave the thread waiting."""

    def block_then_stop() -> None:
        time.sleep(0.3)
        loop.request_stop()

    loop.asyncio_loop.call_soon_threadsafe(block_then_stop)
    before = time.monotonic()
    with pytest.raises(ServerStoppedError), enter(loop, manager(enter=120), timeout=120):
        pytest.fail("the block must not run")
    assert time.monotonic() - before < 60


def test_stopped_loop_refuses_to_enter(manager: Manager) -> None:
    with pytest.raises(ServerStoppedError), enter(ServerLoop(), manager()):
        pytest.fail("the block must not run")
    assert manager.events == []


def test_entering_on_the_loop_thread_is_refused(loop: ServerLoop, manager: Manager) -> None:
    async def wait_for_itself() -> None:
        with enter(loop, manager()):
            pytest.fail("the block must not run")

    with pytest.raises(LoopThreadError, match="The entry blocks"):
        loop.call(wait_for_itself, what="a test", timeout=5)


def test_error_of_a_block_is_freed_at_once(loop: ServerLoop, manager: Manager) -> None:
    """No cycle keeps the exception, and with it the frames of a view, until a collection."""

    class Large:
        pass

    def view() -> weakref.ref[Large]:
        large = Large()
        try:
            with enter(loop, manager()):
                raise ZeroDivisionError(large)
        except ZeroDivisionError:
            pass
        return weakref.ref(large)

    gc.disable()
    try:
        ref = view()
        for _ in range(100):
            if ref() is None:
                break
            time.sleep(0.02)
        assert ref() is None
    finally:
        gc.enable()
