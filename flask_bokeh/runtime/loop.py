"""The IOLoop that hosts the Bokeh server, and every crossing into it.

This is the only file that creates the thread, and the only one that passes work from another
thread to the loop. Work crosses as a coroutine and comes back as a
:class:`concurrent.futures.Future`; whoever waits for it waits for a bounded time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from tornado.ioloop import IOLoop

from ..errors import (
    LimitError,
    LoopThreadError,
    ServerStartError,
    ServerStoppedError,
    WaitTimeoutError,
)
from .executor import PrestartedExecutor
from .gevent import NativeThread, new_event_loop, new_future
from .long_waits import LongWaits
from .uwsgi import uwsgi_threads_disabled

__all__ = ("ServerLoop", "cancel_tasks", "finishes_within", "thread_runs_a_loop")

logger = logging.getLogger("flask_bokeh")

T = TypeVar("T")

_BLOCKED_HINT = (
    "The server's IOLoop may be blocked: look for an application or callback that computes, "
    "sleeps or waits without 'await'."
)


class ServerLoop:
    """The loop that the Bokeh server runs on: our own, on a thread of its own, or a caller's.

    Belongs to the process that made it; a fork must make another.
    """

    def __init__(self, io_loop: IOLoop | None = None) -> None:
        """:param io_loop: a loop that the caller runs and stops. Without it a thread is started."""
        self.io_loop = io_loop
        self._pid = os.getpid()
        self._thread: NativeThread | None = None
        self._asked_to_stop: asyncio.Event | None = None
        if io_loop is not None:
            self._asyncio_loop: asyncio.AbstractEventLoop | None = _asyncio_loop(io_loop)
        else:
            self._asyncio_loop = None

    @property
    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        """The same loop, as asyncio knows it.

        :raises ServerStoppedError: if it does not run yet.
        """
        if self._asyncio_loop is None:
            raise ServerStoppedError("The Bokeh server's loop is not running.")
        return self._asyncio_loop

    def start(self, timeout: float) -> None:
        """Start the thread and return when its loop runs. Nothing to do for a caller's loop.

        :param timeout: seconds.
        :raises ServerStartError: with the cause; never hangs.
        """
        if self.io_loop is not None:
            return
        if uwsgi_threads_disabled():
            raise ServerStartError(
                "uWSGI runs no threads between requests, so plots would stand still. "
                "Start it with --enable-threads."
            )
        ready = new_future()
        self._thread = NativeThread(lambda: self._run(ready), "flask_bokeh")
        try:
            self._thread.start()
            ready.result(timeout)
        except Exception as error:
            self._thread = None
            raise ServerStartError(f"The Bokeh server's thread did not start: {error}") from error

    def submit(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Run ``work(*args)`` on the loop. From any thread; does not wait.

        :raises ServerStoppedError: if the loop does not run, or belongs to another process.
        """
        loop = self._asyncio_loop
        if loop is None or loop.is_closed() or self._pid != os.getpid():
            raise ServerStoppedError("The Bokeh server of this process is not running.")
        coroutine = work(*args)
        future: Future[T] = new_future()
        try:
            # In a context of its own: what starts here may go on when the caller's request, which
            # Flask keeps in a context variable, has long been answered.
            loop.call_soon_threadsafe(_start, loop, coroutine, future, context=Context())
        except RuntimeError as error:  # closed between the check and the call
            coroutine.close()
            raise ServerStoppedError("The Bokeh server of this process has stopped.") from error
        return future

    def call(
        self,
        work: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        what: str,
        timeout: float,
        long_waits: LongWaits | None = None,
    ) -> T:
        """Run ``work(*args)`` on the loop and wait for its result. Not from the loop's thread.

        :param what: what is waited for, for the error.
        :param timeout: seconds.
        :param long_waits: as for :meth:`wait`.
        :raises LoopThreadError: on the loop's thread.
        :raises ServerStoppedError: if the loop does not run.
        :raises WaitTimeoutError: if it takes longer; the work is cancelled.
        """
        self.check_not_on_loop_thread(what)
        future = self.submit(work, *args)
        return self.wait(future, what=what, timeout=timeout, long_waits=long_waits)

    def wait(
        self,
        future: Future[T],
        *,
        what: str,
        timeout: float,
        cancel: bool = True,
        long_waits: LongWaits | None = None,
    ) -> T:
        """Wait for something that runs on the loop.

        :param cancel: whether it is cancelled if it takes too long.
        :param long_waits: bounds how many may wait for long.
        :raises LimitError: if it takes long, and too many others wait already.
        :raises WaitTimeoutError: if it takes longer than ``timeout`` seconds.
        """

        def over(seconds: float) -> bool:
            with suppress(FutureTimeout, CancelledError):
                future.exception(seconds)
            return future.done()

        try:
            in_time = over(timeout) if long_waits is None else long_waits.wait(over, timeout)
        except LimitError:
            if cancel:
                future.cancel()
            raise
        if in_time:
            return future.result()
        if cancel:
            future.cancel()
        raise WaitTimeoutError(what, timeout, _BLOCKED_HINT)

    def check_not_on_loop_thread(self, what: str) -> None:
        """:raises LoopThreadError: if this is the loop's own thread."""
        if self.on_loop_thread():
            raise LoopThreadError(what[:1].upper() + what[1:])

    def on_loop_thread(self) -> bool:
        """Whether the caller runs on the loop."""
        try:
            return asyncio.get_running_loop() is self._asyncio_loop
        except RuntimeError:
            return False

    def is_running(self) -> bool:
        """Whether work passed to the loop would be done."""
        return self._asyncio_loop is not None and self._asyncio_loop.is_running()

    def has_been_left(self) -> bool:
        """Whether this is a caller's loop that does not run."""
        return self._thread is None and not self.is_running()

    def run_on_stopped_loop(
        self, work: Callable[[], Coroutine[Any, Any, Any]], timeout: float
    ) -> bool:
        """Run work on a caller's loop that does not run; say whether that was possible.

        :param timeout: seconds.
        """
        loop = self.asyncio_loop
        if loop.is_closed() or self._pid != os.getpid() or thread_runs_a_loop():
            return False
        loop.run_until_complete(finishes_within(work(), timeout))
        return True

    def stop(self, timeout: float) -> bool:
        """End our thread and wait for it. A caller's loop is left alone. Idempotent.

        :param timeout: seconds.
        :returns: whether the thread has ended; one that is blocked by an application has not.
        """
        thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return True
        self.end()
        return thread.join(timeout)

    def end(self) -> None:
        """Tell our thread to end, and do not wait. From any thread."""
        loop, event = self._asyncio_loop, self._asked_to_stop
        if loop is not None and event is not None and not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    def _run(self, ready: Future[None]) -> None:
        # Not asyncio.run(): it ends the executor from a new thread, and from Python 3.12 on
        # none can be started once the interpreter exits.
        executor = PrestartedExecutor()
        loop = new_event_loop()
        loop.set_default_executor(executor)
        try:
            main = loop.create_task(self._main(ready))
            while not main.done():
                try:
                    loop.run_until_complete(main)
                except SystemExit as error:  # asyncio lets it through, out of any task
                    logger.error("A callback called sys.exit(%r); plots go on.", error.code)
            loop.run_until_complete(cancel_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            loop.close()
            executor.join(1.0)

    async def _main(self, ready: Future[None]) -> None:
        self._asyncio_loop = asyncio.get_running_loop()
        self._asked_to_stop = asyncio.Event()
        self.io_loop = IOLoop.current()
        ready.set_result(None)
        await self._asked_to_stop.wait()


def _start(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], future: Future[T]
) -> None:
    """``asyncio.run_coroutine_threadsafe``, but for a future of our own."""
    task = loop.create_task(coroutine)

    def finished(task: asyncio.Task[T]) -> None:
        error = None
        if task.cancelled():
            future.cancel()
        else:
            error = task.exception()  # asked for even if nobody waits any more
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    def cancelled(future: Future[T]) -> None:
        if future.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    task.add_done_callback(finished)
    future.add_done_callback(cancelled)


def thread_runs_a_loop() -> bool:
    """Whether this thread can't run one now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def cancel_tasks() -> None:
    """Cancel whatever else runs on the running loop, and wait for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def finishes_within(awaitable: Awaitable[Any], timeout: float) -> bool:
    """Await something for at most ``timeout`` seconds, on the loop; say whether it finished."""
    try:
        await asyncio.wait_for(asyncio.ensure_future(awaitable), timeout)
    except TimeoutError:
        return False
    return True


def _asyncio_loop(io_loop: IOLoop) -> asyncio.AbstractEventLoop:
    loop = getattr(io_loop, "asyncio_loop", None)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(
            f"io_loop is {io_loop!r}: expected a Tornado IOLoop such as IOLoop.current()"
        )
    return loop
