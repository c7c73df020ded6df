"""A thread that runs a loop of its own."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future

from tornado.ioloop import IOLoop

from ..errors import ServerStartError
from .executor import PrestartedExecutor
from .gevent import NativeThread, new_event_loop, new_future
from .tasks import cancel_tasks
from .uwsgi import uwsgi_threads_disabled

__all__ = ("LoopThread",)

logger = logging.getLogger("flask_bokeh")


class LoopThread:
    """A daemon thread of the operating system with an asyncio loop. Thread-safe."""

    def __init__(self) -> None:
        self._thread = NativeThread(self._run, "flask_bokeh")
        self._ready: Future[IOLoop] = new_future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self, timeout: float) -> IOLoop:
        """Start the thread, and return its loop, which runs.

        :param timeout: seconds.
        :raises ServerStartError: with the cause; never hangs.
        """
        if uwsgi_threads_disabled():
            raise ServerStartError(
                "uWSGI runs no threads between requests, so plots would stand still. "
                "Start it with --enable-threads."
            )
        try:
            self._thread.start()
            return self._ready.result(timeout)
        except Exception as error:
            raise ServerStartError(f"The Bokeh server's thread did not start: {error}") from error

    def request_stop(self) -> None:
        """Let the thread end, and do not wait for it."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return whether it has ended.

        :param timeout: seconds.
        """
        return self._thread.join(timeout)

    def _run(self) -> None:
        # Not asyncio.run(): it shuts the executor down from a new thread, and from Python 3.12 on
        # none can be started while the interpreter exits.
        executor = PrestartedExecutor()
        loop = new_event_loop()
        loop.set_default_executor(executor)
        try:
            main = loop.create_task(self._main())
            while not main.done():
                try:
                    loop.run_until_complete(main)
                except SystemExit as error:  # asyncio lets it through, out of any task
                    logger.error("A callback called sys.exit(%r); plots go on.", error.code)
            loop.run_until_complete(cancel_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            loop.close()
            executor.join(1.0)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set_result(IOLoop.current())
        await self._stop.wait()
