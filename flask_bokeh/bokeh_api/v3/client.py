"""``bokeh.client`` with bounded waits, and an end that leaves nothing open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bokeh.client import ClientSession
from tornado.ioloop import IOLoop

from ...errors import ServerStoppedError, WaitTimeoutError
from ...runtime.gevent import gevent_patched
from ...runtime.long_waits import PATIENCE, LongWaits
from ...runtime.loop import cancel_tasks
from ...security.tokens import Token

__all__ = ("ClientConnection", "SignedClientSession")

_gevents = threading.Lock()


@contextmanager
def _turn(what: str, timeout: float) -> Iterator[None]:
    """Run a loop: under gevent one greenlet after the other, because they share a thread."""
    if not gevent_patched():
        yield
        return
    if not _gevents.acquire(timeout=timeout):
        raise WaitTimeoutError(what, timeout, "Others use transport='client' at the same time.")
    try:
        yield
    finally:
        _gevents.release()


class ClientConnection:
    """``bokeh.client`` with a token of ours, bounded waits, and an end."""

    def __init__(
        self,
        token: Token,
        url: str,
        timeout: float,
        max_message_size: int,
        long_waits: LongWaits,
    ) -> None:
        self._timeout = timeout
        self._long_waits = long_waits
        self._io_loop = IOLoop(make_current=False)
        self._asyncio_loop: asyncio.AbstractEventLoop = self._io_loop.asyncio_loop  # type: ignore[attr-defined,unused-ignore]
        self.session = SignedClientSession(
            token.visit.session_id, token.encoded, url, self._io_loop, max_message_size
        )

    def bounded(self, work: Callable[[], Any], what: str) -> None:
        """Do something that runs the client's loop.

        bokeh.client runs its loop until what it waits for has come, one wait after the other,
        so the loop is stopped again and again once the time is over.
        """
        with _turn(what, self._timeout):
            self._bounded(work, what)

    def _bounded(self, work: Callable[[], Any], what: str) -> None:
        begun = self._io_loop.time()
        deadline = begun + self._timeout
        counted: bool | None = None
        clock: asyncio.TimerHandle

        def look() -> None:
            nonlocal clock, counted
            now = self._io_loop.time()
            if counted is None and now >= begun + PATIENCE:
                counted = self._long_waits.begin()
            if now >= deadline or counted is False:
                self._io_loop.stop()
            clock = self._asyncio_loop.call_later(0.02, look)

        # A loop that is stopped before it runs would stop whatever runs on it next.
        clock = self._asyncio_loop.call_later(0.02, look)
        try:
            work()
        except Exception as error:
            if counted is False:
                raise self._long_waits.refusal() from error
            if self._io_loop.time() >= deadline:
                raise WaitTimeoutError(what, self._timeout) from error
            raise ServerStoppedError(f"The connection to {what} was lost: {error}") from error
        finally:
            clock.cancel()
            if counted:
                self._long_waits.end()
        if self._io_loop.time() >= deadline:
            raise WaitTimeoutError(what, self._timeout)

    def close(self) -> None:
        """Leave no descriptor and no thread behind."""
        self._io_loop.add_callback(self.session.close)  # a close frame needs a running loop
        # If the other side does not answer, the descriptors go below all the same.
        with suppress(WaitTimeoutError, ServerStoppedError):
            self.bounded(self.session.wait_until_closed, "the connection to close")
        with _turn("the connection to close", self._timeout):
            self._finish(cancel_tasks())
            self._finish(self._asyncio_loop.shutdown_default_executor())
        self._io_loop.close(all_fds=True)

    def _finish(self, work: Coroutine[Any, Any, Any]) -> None:
        # A wait of bokeh.client's that was cut off has left a callback that stops the loop.
        task = self._asyncio_loop.create_task(work)
        for _ in range(10):
            with suppress(RuntimeError):
                self._asyncio_loop.run_until_complete(task)
            if task.done():
                break


class SignedClientSession(ClientSession):
    """A client session that shows a token of ours instead of minting an unsigned one."""

    def __init__(
        self, session_id: str, token: str, url: str, io_loop: IOLoop, max_message_size: int
    ) -> None:
        self._text = token
        super().__init__(
            session_id=session_id,  # type: ignore[arg-type]
            websocket_url=url,
            io_loop=io_loop,
            max_message_size=max_message_size,
        )

    @property
    def token(self) -> str:
        return self._text

    def connect(self) -> None:
        """Connect, and send each of a message's small frames at once (Nagle's algorithm waits)."""
        super().connect()
        wrapper: Any = self._connection._socket
        if wrapper is not None:
            wrapper._socket.protocol.stream.set_nodelay(True)

    def wait_until_closed(self) -> None:
        """Run the client's loop until the connection has ended (private on the session)."""
        self._loop_until_closed()
