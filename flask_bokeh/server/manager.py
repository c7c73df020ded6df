"""Start the server of this process on first use, once, and stop it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ServerStartError, WaitTimeoutError
from ..runtime.lifecycle import stop_all_at_exit
from .backend import ServerBackend

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("ServerManager",)


class ServerManager:
    """The server of one Flask application, one in each process. Thread-safe.

    A child process does not use its parent's server: it starts one of its own on first use, so
    gunicorn's ``--preload``, the reloader and several Flask applications in a process work.

    :param start_server: starts a server, on the loop that it is given or on its own.
    :param start_timeout: seconds to wait for another thread that starts the server.
    """

    def __init__(
        self, start_server: Callable[[IOLoop | None], ServerBackend], start_timeout: float
    ) -> None:
        self._start_server = start_server
        self._timeout = start_timeout
        self._server: ServerBackend | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def get(self) -> ServerBackend:
        """Return the server of this process, and start it before if need be.

        :raises ServerStartError: with the cause, within ``BOKEH_START_TIMEOUT`` seconds.
        :raises WaitTimeoutError: if another thread that starts it takes as long.
        """
        return self.running() or self.start()

    def running(self) -> ServerBackend | None:
        """Return the server of this process, or None if it has not been started."""
        return self._server if self._pid == os.getpid() else None

    def start(self, io_loop: IOLoop | None = None) -> ServerBackend:
        """Start the server now, and return it. Does nothing if it runs already.

        :param io_loop: a loop that the caller owns and runs.
        :raises ServerStartError: as :meth:`get`, and if the server runs already on another loop.
        """
        with self._locked():
            if (server := self.running()) is None:
                server = self._start_server(io_loop)
                self._server, self._pid = server, os.getpid()
                stop_all_at_exit()
            elif io_loop is not None and not server.runs_on(io_loop):
                raise ServerStartError(
                    "The Bokeh server runs already, on another loop. Call bokeh.start(io_loop=...) "
                    "before the first page, or bokeh.stop() first."
                )
            return server

    def stop(self) -> None:
        """Stop the server of this process, if it runs. Not from the loop's thread. Idempotent."""
        if (running := self.running()) is not None:
            running.check_may_wait("stopping the Bokeh server")
        if (server := self._remove()) is not None:
            server.stop()

    async def stop_async(self) -> None:
        """Stop on the server's loop, which the caller owns. Idempotent."""
        if (server := self._remove()) is not None:
            await server.stop_async()

    def forked(self) -> None:
        """Forget the parent's server, in a child process, and close inherited sockets."""
        self._lock = threading.Lock()  # another thread may have held it
        if self._server is not None and self._pid == os.getppid():
            self._server.forked()

    def _remove(self) -> ServerBackend | None:
        with self._locked():
            server, self._server = self._server, None
        return server if self._pid == os.getpid() else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._timeout):
            raise WaitTimeoutError("another thread to start the Bokeh server", self._timeout)
        try:
            yield
        finally:
            self._lock.release()
