"""The loop that hosts the Bokeh server, and every crossing into it from another thread.

Only this module starts the loop's thread, and only it passes work from another thread to the loop.
Work crosses as a coroutine and comes back as a :class:`concurrent.futures.Future`; every wait for
one is bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import Context
from typing import Any, TypeVar

from tornado.ioloop import IOLoop

from ..errors import LimitError, LoopThreadError, ServerStoppedError, WaitTimeoutError
from .async_context import LoopContext
from .gevent import new_future
from .long_waits import LongWaits
from .loop_thread import LoopThread
from .tasks import finishes_within, thread_runs_a_loop

__all__ = ("ServerLoop",)

T = TypeVar("T")

_BLOCKED_HINT = (
    "The server's IOLoop may be blocked: look for an application or callback that computes, "
    "sleeps or waits without 'await'."
)


class ServerLoop:
    """The loop of the Bokeh server: our own, on a thread of its own, or a caller's. Thread-safe.

    It belongs to the process that made it; a forked process must make another one.

    :param io_loop: a loop that the caller runs and stops. Without it, :meth:`start` starts a
        thread.
    """

    def __init__(self, io_loop: IOLoop | None = None) -> None:
        self._io_loop = io_loop
        self._asyncio_loop = None if io_loop is None else _asyncio_loop(io_loop)
        self._pid = os.getpid()
        self._thread: LoopThread | None = None

    @property
    def io_loop(self) -> IOLoop:
        """The loop, as Tornado knows it.

        :raises ServerStoppedError: if it has not been started.
        """
        if self._io_loop is None:
            raise ServerStoppedError("The Bokeh server's loop is not running.")
        return self._io_loop

    @property
    def asyncio_loop(self) -> asyncio.AbstractEventLoop:
        """The loop, as asyncio knows it.

        :raises ServerStoppedError: if it has not been started.
        """
        if self._asyncio_loop is None:
            raise ServerStoppedError("The Bokeh server's loop is not running.")
        return self._asyncio_loop

    # --- life cycle -------------------------------------------------------------------------

    def start(self, timeout: float) -> None:
        """Start the thread, and return when its loop runs. Does nothing for a caller's loop.

        :param timeout: seconds.
        :raises ServerStartError: with the cause; never hangs.
        """
        if self._io_loop is None:
            thread = LoopThread()
            self._io_loop = thread.start(timeout)
            self._asyncio_loop = _asyncio_loop(self._io_loop)
            self._thread = thread

    def stop(self, timeout: float) -> bool:
        """Stop our thread and wait for it. A caller's loop is left alone. Idempotent.

        :param timeout: seconds.
        :returns: whether the thread has ended. One that an application blocks has not.
        """
        thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return True
        thread.request_stop()
        return thread.join(timeout)

    def request_stop(self) -> None:
        """Let our thread end, and do not wait for it."""
        if self._thread is not None:
            self._thread.request_stop()

    def is_running(self) -> bool:
        """Return whether the loop runs, so that work passed to it is done."""
        return self._asyncio_loop is not None and self._asyncio_loop.is_running()

    def has_been_left(self) -> bool:
        """Return whether this is a caller's loop that does not run."""
        return self._thread is None and not self.is_running()

    def run_on_stopped_loop(
        self, work: Callable[[], Coroutine[Any, Any, Any]], timeout: float
    ) -> bool:
        """Run work on a caller's loop that does not run; return whether that was possible.

        :param timeout: seconds.
        """
        loop = self.asyncio_loop
        if loop.is_closed() or self._pid != os.getpid() or thread_runs_a_loop():
            return False
        loop.run_until_complete(finishes_within(work(), timeout))
        return True

    # --- crossing into the loop -------------------------------------------------------------

    def submit(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Run ``work(*args)`` on the loop, and do not wait.

        :raises ServerStoppedError: if the loop does not run, or belongs to another process.
        """
        loop = self._asyncio_loop
        if loop is None or loop.is_closed() or self._pid != os.getpid():
            raise ServerStoppedError("The Bokeh server of this process is not running.")
        coroutine = work(*args)
        future: Future[T] = new_future()
        try:
            # In an empty context: the work may go on long after the caller's request, which Flask
            # keeps in a context variable, has been answered.
            loop.call_soon_threadsafe(_start_task, loop, coroutine, future, context=Context())
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

        :param what: a description of the wait, for errors.
        :param timeout: seconds.
        :param long_waits: as for :meth:`wait`.
        :raises LoopThreadError: on the loop's thread.
        :raises ServerStoppedError: if the loop does not run.
        :raises WaitTimeoutError: if it takes longer; the work is cancelled.
        """
        self.check_not_on_loop_thread(what)
        future = self.submit(work, *args)
        return self.wait(future, what=what, timeout=timeout, long_waits=long_waits)

    @contextmanager
    def enter(
        self,
        manager: AbstractAsyncContextManager[T, Any],
        *,
        entering: str,
        leaving: str,
        timeout: float,
        long_waits: LongWaits | None = None,
    ) -> Iterator[T]:
        """Enter an async context manager on the loop, and exit it at the end of the block.

        Not from the loop's thread. One task enters and exits it, and always exits what it has
        entered: after a timeout it does so as soon as it can. If the block raises, the context
        manager gets the exception, but can't suppress it.

        :param entering: a description of the wait for the entry, for errors.
        :param leaving: the same for the exit.
        :param timeout: seconds, for each of the two waits.
        :param long_waits: bounds how many may wait long for the entry.
        :raises LimitError: if the entry takes long, and too many others wait already.
        :raises LoopThreadError: on the loop's thread.
        :raises ServerStoppedError: if the loop stops meanwhile, or does not run.
        :raises WaitTimeoutError: if one of the waits takes longer than ``timeout``. An exception
            of the block is raised in its place.
        """
        self.check_not_on_loop_thread(entering)
        context = LoopContext(manager)
        task = self.submit(context.hold)
        task.add_done_callback(context.fail_entry)
        try:
            value = self.wait(
                context.entered, what=entering, timeout=timeout, long_waits=long_waits
            )
        except BaseException as error:
            context.leave(error)
            if isinstance(error, CancelledError):
                raise _stopped(entering) from error
            raise
        try:
            yield value
        except BaseException as error:
            context.leave(error)
            if isinstance(error, Exception):
                with suppress(CancelledError, WaitTimeoutError):
                    self.wait(task, what=leaving, timeout=timeout, cancel=False)
            raise
        else:
            context.leave(None)
            try:
                self.wait(task, what=leaving, timeout=timeout, cancel=False)
            except CancelledError as error:
                raise _stopped(leaving) from error
        finally:
            del context, task  # they refer to the exception, whose traceback refers to this frame

    def wait(
        self,
        future: Future[T],
        *,
        what: str,
        timeout: float,
        cancel: bool = True,
        long_waits: LongWaits | None = None,
    ) -> T:
        """Wait for the result of work that was submitted to the loop.

        :param what: a description of the wait, for errors.
        :param timeout: seconds.
        :param cancel: whether to cancel the work if it takes too long.
        :param long_waits: bounds how many may wait for long.
        :raises LimitError: if it takes long, and too many others wait already.
        :raises WaitTimeoutError: if it takes longer than ``timeout`` seconds.
        """

        def is_done_within(seconds: float) -> bool:
            with suppress(FutureTimeout, CancelledError):
                future.exception(seconds)
            return future.done()

        try:
            if long_waits is None:
                in_time = is_done_within(timeout)
            else:
                in_time = long_waits.wait(is_done_within, timeout)
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
        """:raises LoopThreadError: on the loop's own thread, which must not wait for itself."""
        if self.on_loop_thread():
            raise LoopThreadError(what[:1].upper() + what[1:])

    def on_loop_thread(self) -> bool:
        """Return whether the caller runs on the loop's thread."""
        try:
            return asyncio.get_running_loop() is self._asyncio_loop
        except RuntimeError:
            return False


def _start_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], future: Future[T]
) -> None:
    """Work as ``asyncio.run_coroutine_threadsafe``, but with a future of :func:`new_future`."""
    task = loop.create_task(coroutine)

    def finished(task: asyncio.Task[T]) -> None:
        error = None
        if task.cancelled():
            future.cancel()
        else:
            error = task.exception()  # marks it as retrieved, also if nobody waits any more
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


def _stopped(what: str) -> ServerStoppedError:
    return ServerStoppedError(f"The Bokeh server stopped while this process waited for {what}.")


def _asyncio_loop(io_loop: IOLoop) -> asyncio.AbstractEventLoop:
    loop = getattr(io_loop, "asyncio_loop", None)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(
            f"io_loop is {io_loop!r}: expected a Tornado IOLoop such as IOLoop.current()"
        )
    return loop
