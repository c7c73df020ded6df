"""``bokeh.client`` with bounded waits, and a close that leaves no descriptor or thread behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bokeh.client import ClientSession
from tornado.ioloop import IOLoop

from ...errors import ServerStoppedError, WaitTimeoutError
from ...runtime.gevent import gevent_patched
from ...runtime.long_waits import PATIENCE, LongWaits
from ...runtime.tasks import cancel_tasks

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("ClientConnection", "SignedClientSession")

_gevent_lock = threading.Lock()


class ClientConnection:
    """A session over a WebSocket. For one thread, which must not run a loop.

    Each method waits for at most ``timeout`` seconds.

    :raises LimitError: (each method) if it takes long, and too many other pages wait already.
    :raises ServerStoppedError: (each method) if the connection is lost.
    :raises WaitTimeoutError: (each method) if the time is over.
    """

    def __init__(
        self,
        session_id: str,
        token: str,
        *,
        url: str,
        timeout: float,
        max_message_size: int,
        long_waits: LongWaits,
    ) -> None:
        """
        :param token: the encoded token.
        :param url: the URL of the application's WebSocket.
        :param timeout: seconds.
        :param max_message_size: bytes.
        """
        self._timeout = timeout
        self._long_waits = long_waits
        self._io_loop = IOLoop(make_current=False)
        self._asyncio_loop: asyncio.AbstractEventLoop = self._io_loop.asyncio_loop  # type: ignore[attr-defined,unused-ignore]
        self.session = SignedClientSession(session_id, token, url, self._io_loop, max_message_size)

    def pull(self, what: str) -> Document:
        """Connect, and return a copy of the session's document, which follows it from then on.

        :param what: a description of the wait, for errors. So with the other methods.
        """
        self._run(self.session.pull, what)
        document = self.session.document
        if document is None:
            raise ServerStoppedError(f"The connection to {what} was lost.")
        return document

    def force_roundtrip(self, what: str) -> None:
        """Wait until all edits made so far have arrived at the server."""
        self._run(self.session.force_roundtrip, what)

    def close(self) -> None:
        """Close the connection, and its loop with all descriptors and threads."""
        what = "the connection to close"
        self._io_loop.add_callback(self.session.close)  # a close frame needs a running loop
        # If the server does not answer, the descriptors are closed below all the same.
        with suppress(WaitTimeoutError, ServerStoppedError):
            self._run(self.session.wait_until_closed, what)
        with _one_at_a_time_under_gevent(what, self._timeout):
            self._finish(cancel_tasks())
            self._finish(self._asyncio_loop.shutdown_default_executor())
        self._io_loop.close(all_fds=True)

    def _run(self, work: Callable[[], Any], what: str) -> None:
        with _one_at_a_time_under_gevent(what, self._timeout):
            self._run_bounded(work, what)

    def _run_bounded(self, work: Callable[[], Any], what: str) -> None:
        """Call a function of bokeh.client's that runs the client's loop.

        bokeh.client runs its loop until its condition holds, one wait after the other, so the loop
        is stopped again and again once the time is over.
        """
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

    def _finish(self, work: Coroutine[Any, Any, Any]) -> None:
        # A wait of bokeh.client's that was cut off leaves a callback that stops the loop.
        task = self._asyncio_loop.create_task(work)
        for _ in range(10):
            with suppress(RuntimeError):
                self._asyncio_loop.run_until_complete(task)
            if task.done():
                break


class SignedClientSession(ClientSession):
    """A client session with a signed token, where Bokeh's own would create an unsigned one."""

    def __init__(
        self, session_id: str, token: str, url: str, io_loop: IOLoop, max_message_size: int
    ) -> None:
        self._encoded = token
        super().__init__(
            session_id=session_id,  # type: ignore[arg-type]
            websocket_url=url,
            io_loop=io_loop,
            max_message_size=max_message_size,
        )

    @property
    def token(self) -> str:
        return self._encoded

    def connect(self) -> None:
        """Connect, and send each of a message's small frames at once (Nagle's algorithm waits)."""
        super().connect()
        wrapper: Any = self._connection._socket
        if wrapper is not None:
            wrapper._socket.protocol.stream.set_nodelay(True)

    def wait_until_closed(self) -> None:
        """Run the client's loop until the connection has ended (private in Bokeh)."""
        self._loop_until_closed()


@contextmanager
def _one_at_a_time_under_gevent(what: str, timeout: float) -> Iterator[None]:
    """Run a loop in the block. Greenlets share one thread, so they take turns."""
    if not gevent_patched():
        yield
        return
    if not _gevent_lock.acquire(timeout=timeout):
        raise WaitTimeoutError(what, timeout, "Others use transport='client' at the same time.")
    try:
        yield
    finally:
        _gevent_lock.release()
