"""Receive requests of the other workers of a site: see :mod:`.protocol`."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..runtime.acceptor import Acceptor
from ..runtime.gevent import unpatched
from .protocol import TEMPORARY, is_worker
from .receiver import TransferTarget, serve

__all__ = ("FindDirectory", "TransferListener")

logger = logging.getLogger("flask_bokeh")

_CHECK_INTERVAL = 2.0
"""Seconds between two checks whether other workers still find this one."""
_ABANDONED_AFTER = 60.0
"""Seconds after which a temporary socket belongs to a worker that ended while it started."""

FindDirectory = Callable[[], Path | None]
"""Find the site's runtime directory: see :meth:`RuntimeDir.find`."""


class TransferListener:
    """Listens for the site's other workers on a unix socket. Only on the loop's thread."""

    def __init__(self, find_directory: FindDirectory, name: str, target: TransferTarget) -> None:
        """
        :param find_directory: finds the directory in which the site's workers meet.
        :param name: name of this worker.
        :param target: does what other workers ask for.
        """
        self._find_directory = find_directory
        self._name = name
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._path: Path | None = None
        self._acceptor: Acceptor | None = None
        self._next_check: asyncio.TimerHandle | None = None
        self._reported = ""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to listen, and check regularly that other workers can find this one.

        The directory may be unusable at first, or be removed later.
        """
        self._next_check = loop.call_later(_CHECK_INTERVAL, self.open, loop)
        directory = self._find_directory()
        if directory is None:
            return
        path = directory / self._name
        if path == self._path and path.is_socket():
            return
        try:
            self._listen(loop, path)
        except OSError as error:  # for example if the path is too long
            self._report(f"{directory}: {error}")
        else:
            self._target.close_missed_sessions()

    def close(self) -> None:
        """Stop to listen, and cancel what other workers have asked for. Idempotent."""
        if self._next_check is not None:
            self._next_check.cancel()
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is None or self._path is None:
            return
        acceptor.close()
        with suppress(OSError):  # the directory may have been removed
            self._path.unlink()
        for task in self._tasks:
            task.cancel()

    def forked(self) -> None:
        """Stop to listen in a child process; the parent goes on."""
        if self._acceptor is not None:
            self._acceptor.forked()

    def _listen(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        listener = unpatched("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = path.with_suffix(TEMPORARY)
        try:
            listener.bind(str(temporary))
            listener.listen(128)
            temporary.rename(path)  # every worker that finds it can connect
        except OSError:
            listener.close()
            raise
        if self._acceptor is not None:
            self._acceptor.close()
        self._acceptor = Acceptor(loop, listener, self._accept)
        self._path = path
        _remove_dead_sockets(path.parent, keep=path)

    def _report(self, problem: str) -> None:
        if problem != self._reported:
            self._reported = problem
            logger.warning(
                "Other workers can't reach this one, neither for logouts nor to pass on sockets: "
                "%s (see BOKEH_RUNTIME_DIR)",
                problem,
            )

    def _accept(self, sender: socket.socket, _: Any) -> None:
        task = asyncio.get_running_loop().create_task(serve(sender, self._target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: sender.close())  # even if the task is cancelled at once


def _remove_dead_sockets(directory: Path, keep: Path) -> None:
    """Remove the sockets of workers that have ended without removing them."""
    for path in set(directory.iterdir()) - {keep}:
        with suppress(OSError):
            if path.suffix == TEMPORARY:
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    path.unlink()
            elif is_worker(path.name) and path.is_socket() and not _is_listening(path):
                path.unlink()


def _is_listening(path: Path) -> bool:
    """:raises OSError: if that cannot be told, for example because a worker is too busy."""
    with unpatched("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True
