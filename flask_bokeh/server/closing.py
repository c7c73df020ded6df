"""End the sessions of a user, in this worker and in all others of the machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..errors import ServerStoppedError, SessionsNotEndedError, WaitTimeoutError
from ..security.revocation import RevocationList
from ..settings import Settings
from ..workers.runtime_dir import RuntimeDir
from ..workers.sender import broadcast_close
from .in_process import InProcessServer

__all__ = ("SessionCloser",)

logger = logging.getLogger("flask_bokeh")

_THREADS = 4
"""A logout may wait some seconds for a worker that is frozen: others need not wait with it."""


class State(Protocol):
    """What is needed of a Flask application's state."""

    settings: Settings
    ended: RevocationList

    @property
    def meeting(self) -> RuntimeDir | None: ...
    @property
    def folder(self) -> Path | None: ...
    def running(self) -> InProcessServer | None: ...
    def subject_digests(self, user: str) -> tuple[str, ...]: ...


class SessionCloser:
    """Closes sessions before their time. For any thread but the server's loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._pending: set[Future[None]] = set()

    def end_tokens(self, user: str) -> float:
        """Refuse the tokens of a user from now on, in all workers; say what now is.

        In seconds since the epoch.
        """
        now = time.time()
        self._state.ended.add(self._state.subject_digests(user), now)
        return now

    def close(self, user: str, then: float | None = None) -> int:
        """End the sessions of a user in all workers, and say how many. Not on the loop.

        :param then: from :meth:`end_tokens`; pages that were made later are left alone.
        :raises WaitTimeoutError: if this process's loop is blocked; they will end all the same.
        :raises SessionsNotEndedError: if some may live on, here or in another worker.
        """
        state = self._state
        server = state.running()
        if server is not None:
            server.loop.check_not_on_loop_thread("ending a user's sessions")
        then = self.end_tokens(user) if then is None else then
        subject_digests, closed, ending = state.subject_digests(user), 0, None
        if server is not None:
            reservations, closed = server.limits.end(subject_digests, then)
            with suppress(ServerStoppedError):  # and its sessions with it
                ending = server.loop.submit(server.ending.end, reservations)
        failed: list[str] = []
        if (folder := state.folder) is not None:
            own = None if server is None else server.worker_id
            elsewhere, failed = broadcast_close(folder, own, subject_digests, then)
            closed += elsewhere
        elif state.meeting is not None:
            logger.warning(
                "A user's sessions were ended in this worker only. %s", state.meeting.problem or ""
            )
        if server is not None and ending is not None:
            try:
                server.loop.wait(
                    ending,
                    what="a user's sessions to end",
                    timeout=state.settings.stop_timeout,
                    cancel=False,  # they end as soon as the loop is free
                )
            except (WaitTimeoutError, CancelledError):
                raise
            except Exception as error:
                raise SessionsNotEndedError([*failed, f"in this process: {error!r}"]) from error
        if failed:
            raise SessionsNotEndedError(failed)
        return closed

    def in_background(self, work: Callable[[], None]) -> None:
        """Do something on one of a few threads, which end with the server."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, "flask_bokeh logout")
            future: Future[None] | None = None
            with suppress(RuntimeError):  # Python exits, and starts no thread any more
                future = self._threads.submit(work)
                self._pending.add(future)
        if future is None:
            work()
        else:
            future.add_done_callback(self._pending.discard)

    def end_threads(self, timeout: float) -> None:
        """Let the threads end when they have done what waits for them. Idempotent.

        :param timeout: seconds to wait for that.
        """
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            _, pending = wait(set(self._pending), timeout)
            threads.shutdown(wait=not pending)

    def forked(self) -> None:
        """In a child process: the threads are the parent's."""
        self._lock = threading.Lock()
        self._threads = None
        self._pending = set()
