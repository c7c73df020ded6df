"""Threads, turns of the loop and memory for messages are shared between visitors."""

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


@pytest.mark.parametrize(("heavy", "share"), [(False, 2), (True, 1)], ids=["light", "heavy"])
def test_visitor_uses_a_share_of_the_threads(
    executor: PrestartedExecutor, heavy: bool, share: int
) -> None:
    """A visitor's work beyond their share of threads waits, and is done in the end."""
    mine, others = threading.Event(), threading.Event()
    owner = WorkOwner("a", heavy)
    many = [submit(executor, owner, mine) for _ in range(6)]
    others.set()
    assert submit(executor, WorkOwner("b"), others).result(60)
    assert submit(executor, None, others).result(60)
    assert sum(one.running() for one in many) <= share
    mine.set()
    assert all(one.result(60) for one in many)
    assert submit(executor, owner, mine).result(60)
    assert executor._running == {}
    assert executor._waiting == {}


def test_cancelled_waiting_work_occupies_no_thread(executor: PrestartedExecutor) -> None:
    """Later work of the same visitor still finds a thread."""
    event = threading.Event()
    many = [submit(executor, WorkOwner("a"), event) for _ in range(4)]
    assert many[3].cancel()
    event.set()
    assert all(one.result(60) for one in many[:3])
    assert submit(executor, WorkOwner("a"), event).result(60)


def test_shutdown_finishes_waiting_work() -> None:
    executor = PrestartedExecutor(3)
    event = threading.Event()
    many = [submit(executor, WorkOwner("a"), event) for _ in range(6)]
    executor.shutdown()
    event.set()
    executor.join(60)
    assert all(one.result(60) for one in many)


def test_visitors_take_turns_of_the_loop() -> None:
    """A visitor with ten blocking messages does not delay another visitor's answer."""
    done: list[str] = []

    async def work(turns: Turns) -> None:
        await turns.take("a")
        time.sleep(0.05)  # blocks the loop, as an application may
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


def test_only_visitor_does_not_wait_for_a_turn() -> None:
    """Messages of the only active visitor are handled without a pause."""

    async def main() -> None:
        turns = Turns()
        await turns.take("a")
        await asyncio.sleep(0)  # the turn ends
        assert turns._waiting == {}

    asyncio.run(main())


async def one_reads_and_two_wait(limits: ReadLimits) -> tuple[list[SocketReads], list[Task[None]]]:
    """Return three sockets of a visitor, each with a large frame, and the two waiting tasks."""
    sockets = [SocketReads(limits, "a") for _ in range(3)]
    await sockets[0].begin(100_000)
    waiting = [asyncio.ensure_future(one.begin(100_000)) for one in sockets[1:]]
    await asyncio.sleep(0)  # both have begun to wait
    return sockets, waiting


def test_large_frames_of_a_visitor_are_read_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor's large frame is read after the previous one has been handled.

    Small frames and the frames of other visitors are read at once.
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


def test_wait_for_a_slow_frame_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow or lost client delays the visitor's other sockets for a few seconds at most."""
    monkeypatch.setattr("flask_bokeh.bokeh_api.v3.websocket_reads._PATIENCE", 0.01)

    async def main() -> None:
        limits = ReadLimits(10**6)
        slow = SocketReads(limits, "a")
        await slow.begin(100_000)
        await asyncio.wait_for(SocketReads(limits, "a").begin(100_000), 10)
        await slow.begin(2)

    asyncio.run(main())


def test_unhandled_bytes_of_a_visitor_are_bounded() -> None:
    """The sockets of a visitor share one limit, until their messages have been handled."""

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


def test_socket_closed_while_waiting_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is closed before its turn holds no bytes and delays no other socket."""
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
