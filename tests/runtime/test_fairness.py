"""One visitor's work leaves threads and time on the loop to others."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import Task
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import copy_context

import pytest

from flask_bokeh.bokeh_api.v3.message_turns import Turns
from flask_bokeh.bokeh_api.v3.websocket_reads import ReadLimits, SocketReads
from flask_bokeh.errors import MessageLimitError
from flask_bokeh.runtime.executor import WORK_OWNER, PrestartedExecutor, WorkOwner


@pytest.fixture
def executor() -> Iterator[PrestartedExecutor]:
    executor = PrestartedExecutor(3)
    yield executor
    executor.shutdown()
    executor.join(60)


def submit(
    executor: PrestartedExecutor, owner: WorkOwner | None, event: threading.Event
) -> Future[bool]:
    def within() -> Future[bool]:
        WORK_OWNER.set(owner)
        return executor.submit(event.wait, 20)

    return copy_context().run(within)


@pytest.mark.parametrize(("heavy", "share"), [(False, 2), (True, 1)])
def test_a_share_of_the_threads(executor: PrestartedExecutor, heavy: bool, share: int) -> None:
    """One visitor has so many threads at a time, the rest of the work waits, and all is done."""
    mine, others = threading.Event(), threading.Event()
    owner = WorkOwner("a", heavy)
    many = [submit(executor, owner, mine) for _ in range(6)]
    others.set()
    assert submit(executor, WorkOwner("b"), others).result(20)
    assert submit(executor, None, others).result(20)
    assert sum(one.running() for one in many) <= share
    mine.set()
    assert all(one.result(20) for one in many)
    assert submit(executor, owner, mine).result(20)
    assert executor._running == {}
    assert executor._waiting == {}


def test_work_that_waits_is_cancelled(executor: PrestartedExecutor) -> None:
    """Work that is cancelled while it waits occupies no thread, and no thread is lost."""
    event = threading.Event()
    many = [submit(executor, WorkOwner("a"), event) for _ in range(4)]
    assert many[3].cancel()
    event.set()
    assert all(one.result(20) for one in many[:3])
    assert submit(executor, WorkOwner("a"), event).result(20)


def test_an_end_with_work_that_waits() -> None:
    """The threads end after the work that was there."""
    executor = PrestartedExecutor(3)
    event = threading.Event()
    many = [submit(executor, WorkOwner("a"), event) for _ in range(6)]
    executor.shutdown()
    event.set()
    executor.join(60)
    assert all(one.result(20) for one in many)


def test_turns_of_the_loop() -> None:
    """An answer that takes many steps of the loop comes while another visitor's messages wait."""
    done: list[str] = []

    async def work(turns: Turns) -> None:
        await turns.take("a")
        time.sleep(0.05)  # as an application may block the loop
        done.append("a")

    async def answer(turns: Turns) -> None:
        await turns.take("b")
        for _ in range(20):
            await asyncio.sleep(0)
        done.append("b")

    async def main() -> None:
        turns = Turns()
        await turns.take("c")
        await asyncio.gather(*[work(turns) for _ in range(10)], answer(turns))
        assert turns._waiting.keys() <= {"a", "b"}

    asyncio.run(main())
    assert sorted(done) == ["a"] * 10 + ["b"]
    assert done.index("b") <= 3


def test_who_is_alone_does_not_wait() -> None:
    """The messages of a visitor follow each other without a pause where nobody else is."""

    async def main() -> None:
        turns = Turns()
        await turns.take("a")
        await asyncio.sleep(0)  # the turn ends
        assert turns._waiting == {}

    asyncio.run(main())


async def one_reads_and_two_wait(limits: ReadLimits) -> tuple[list[SocketReads], list[Task[None]]]:
    """Three sockets of a visitor that have a large frame each, and the tasks of those that wait."""
    sockets = [SocketReads(limits, "a") for _ in range(3)]
    await sockets[0].begin(100_000)
    waiting = [asyncio.ensure_future(one.begin(100_000)) for one in sockets[1:]]
    await asyncio.sleep(0)  # both have begun to wait
    return sockets, waiting


def test_large_frames_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor's large frame is read when the one before is handled; others' and small ones are
    read at once.
    """
    monkeypatch.setattr("flask_bokeh.bokeh_api.v3.websocket_reads._PATIENCE", 1000)

    async def main() -> None:
        limits = ReadLimits(10**6)
        (first, second, _), waiting = await one_reads_and_two_wait(limits)
        await asyncio.wait_for(SocketReads(limits, "b").begin(100_000), 10)
        await asyncio.wait_for(SocketReads(limits, "a").begin(1000), 10)
        assert [one.done() for one in waiting] == [False, False]
        await first.begin(2)  # the next header
        await asyncio.wait_for(waiting[0], 10)
        assert not waiting[1].done()
        second.close()
        await asyncio.wait_for(waiting[1], 10)

    asyncio.run(main())


def test_a_slow_frame_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends slowly, or has gone, holds up its visitor's other sockets for seconds."""
    monkeypatch.setattr("flask_bokeh.bokeh_api.v3.websocket_reads._PATIENCE", 0.01)

    async def main() -> None:
        limits = ReadLimits(10**6)
        slow = SocketReads(limits, "a")
        await slow.begin(100_000)
        await asyncio.wait_for(SocketReads(limits, "a").begin(100_000), 10)
        await slow.begin(2)

    asyncio.run(main())


def test_bytes_that_are_not_handled() -> None:
    """All sockets of a visitor hold so much and no more, until it is handled."""

    async def main() -> None:
        limits = ReadLimits(1000)
        first, second = SocketReads(limits, "a"), SocketReads(limits, "a")
        await first.begin(600)
        with pytest.raises(MessageLimitError):
            await second.begin(600)
        with pytest.raises(MessageLimitError):
            second.hold(600)
        await SocketReads(limits, "b").begin(600)
        first.handled()
        await second.begin(600)
        second.close()
        first.close()
        assert limits._held.keys() == {"b"}

    asyncio.run(main())


def test_a_socket_that_closes_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that was closed before its turn holds nothing, and nobody up."""
    monkeypatch.setattr("flask_bokeh.bokeh_api.v3.websocket_reads._PATIENCE", 1000)

    async def main() -> None:
        limits = ReadLimits(10**6)
        (first, second, third), waiting = await one_reads_and_two_wait(limits)
        second.close()
        await second.begin(1000)
        first.close()
        await asyncio.wait_for(asyncio.gather(*waiting), 20)
        third.close()
        assert limits._held == {}

    asyncio.run(main())
