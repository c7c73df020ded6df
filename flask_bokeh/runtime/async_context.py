"""Enter an async context manager on a loop from another thread: see :meth:`ServerLoop.enter`."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

from .gevent import new_future

__all__ = ("LoopContext",)

T = TypeVar("T")


class LoopContext(Generic[T]):
    """An async context manager that one task of the loop enters and exits.

    A thread waits for :attr:`entered`, calls :meth:`leave`, and may wait for the task. The task
    exits the context manager in any case: if the thread has stopped waiting for :attr:`entered`
    and cancelled it, and if the task itself is cancelled.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T, Any]) -> None:
        self._manager = manager
        self.entered: Future[T] = new_future()
        """The value of the context manager, or the error that entering it raised."""
        self._left: Future[BaseException | None] = new_future()

    async def hold(self) -> None:
        """Enter the context manager, wait for :meth:`leave`, and exit it. On the loop."""
        async with self._manager as value:
            if not self.entered.set_running_or_notify_cancel():  # the thread has stopped waiting
                raise asyncio.CancelledError
            self.entered.set_result(value)
            error = await asyncio.wrap_future(self._left)
            if error is not None:
                raise error

    def leave(self, error: BaseException | None) -> None:
        """Let the task exit the context manager. Thread-safe; does not wait.

        :param error: the exception that the block has raised, if any. The context manager gets it,
            or CancelledError in the place of one that would stop the loop, such as SystemExit.
        """
        if error is not None and not isinstance(error, Exception):
            error = asyncio.CancelledError()
        with suppress(InvalidStateError):  # the task was cancelled while it waited
            self._left.set_result(error)

    def fail_entry(self, task: Future[None]) -> None:
        """Pass on the error of a task that has ended without entering the context manager.

        This is a done-callback because a task that is cancelled before its first step runs no code.
        """
        if self.entered.done() or not self.entered.set_running_or_notify_cancel():
            return
        error = None if task.cancelled() else task.exception()
        self.entered.set_exception(error or CancelledError())
