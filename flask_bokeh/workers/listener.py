"""The worker's end of what workers say to each other: see :mod:`flask_bokeh.workers.sender`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..hijack.upgrade_request import Upgrade
from ..runtime.acceptor import Acceptor
from ..runtime.descriptors import is_below_fd_reserve
from ..runtime.gevent import unpatched
from .protocol import LENGTH, TEMPORARY, TIMEOUT, check_peer_uid, is_worker

__all__ = ("TransferListener",)

logger = logging.getLogger("flask_bokeh")

_MAX_MESSAGE = 128 * 1024
_LOOK = 2.0
"""Seconds between two looks whether other workers still find this one."""

Folder = Callable[[], Path | None]
Adopt = Callable[[socket.socket, Upgrade], None]
Holds = Callable[[str, str], bool]
Close = Callable[[list[str], float], Awaitable[int]]


class TransferListener:
    """Receives clients for sessions of this process. On its loop's thread only."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        *,
        holds: Holds,
        adopt: Adopt,
        close: Close,
        found_again: Callable[[], object],
    ) -> None:
        """
        :param folder: finds the folder in which the site's workers meet.
        :param holds: says whether a session, by path and id, lives here.
        :param adopt: takes a client over.
        :param close: ends the sessions of a user, and says how many.
        :param found_again: called when other workers can find this one, maybe again.
        """
        self._folder = folder
        self._name = name
        self._holds = holds
        self._adopt = adopt
        self._close = close
        self._found_again = found_again
        self._tasks: set[asyncio.Task[None]] = set()
        self._path: Path | None = None
        self._listening: Acceptor | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._told = ""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to listen, and go on when the folder was removed or could not be used."""
        self._next_look = loop.call_later(_LOOK, self.open, loop)
        folder = self._folder()
        if folder is None or (self._path == folder / self._name and self._path.is_socket()):
            return
        try:
            self._listen(loop, folder / self._name)
        except OSError as error:  # for instance if its name is too long
            if (text := f"{folder}: {error}") != self._told:
                self._told = text
                logger.warning(
                    "Other workers can't reach this one, neither for logouts nor to pass sockets "
                    "on: %s (see BOKEH_SOCKET_DIR)",
                    text,
                )
            return
        self._found_again()

    def _listen(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        listener = unpatched("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM)
        new = path.with_suffix(TEMPORARY)
        try:
            listener.bind(str(new))
            listener.listen(128)
            new.rename(path)  # so whoever finds it can connect
        except OSError:
            listener.close()
            raise
        if self._listening is not None:
            self._listening.close()
        self._listening = Acceptor(loop, listener, self._accept)
        self._path = path
        _clear_away(path.parent, keep=path)

    def forked(self) -> None:
        """In a child process, which does not listen."""
        if self._listening is not None:
            self._listening.forked()

    def close(self) -> None:
        """Stop to listen. Idempotent."""
        if self._next_look is not None:
            self._next_look.cancel()
        listening, self._listening = self._listening, None
        if listening is None or self._path is None:
            return
        listening.close()
        with suppress(OSError):  # the folder is somebody else's by now
            self._path.unlink()
        for task in self._tasks:
            task.cancel()

    def _accept(self, sender: socket.socket, _: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._receive(sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: sender.close())  # also one that never began

    async def _receive(self, sender: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                check_peer_uid(sender)
                if not (line := await _line(sender)):
                    return  # only asked whether we live
                loop = asyncio.get_running_loop()
                if line.startswith("close "):
                    await loop.sock_sendall(sender, await self._closed(line[6:]))
                    return
                path, session_id = line.split(" ")
                if not self._holds(path, session_id):
                    await loop.sock_sendall(sender, b"G")
                    return
                await loop.sock_sendall(sender, b"R")
                message = await _message(sender, descriptors)
            if message is None:
                return
            if not is_below_fd_reserve(descriptors[0]):
                raise OSError("hardly any descriptor is left")
            upgrade = Upgrade(
                head=message["head"].encode("latin-1"),
                address=tuple(message["address"]),
                session_id=session_id,
            )
            os.set_inheritable(descriptors[0], False)
            self._adopt(unpatched("socket", "socket")(fileno=descriptors.pop()), upgrade)
        except Exception as error:  # noqa: BLE001  # a sender that dies is not our trouble
            logger.warning("Another worker asked for something that was not done: %r", error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _closed(self, arguments: str) -> bytes:
        try:
            return b"%d\n" % await self._close(*json.loads(arguments))
        except Exception:
            logger.exception("Sessions that another worker has asked to end may live on.")
            return b"!\n"


def _clear_away(folder: Path, keep: Path) -> None:
    """Remove the sockets of workers that have died: those that refuse."""
    for path in set(folder.iterdir()) - {keep}:
        with suppress(OSError):
            if path.suffix == TEMPORARY:
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()
                continue
            if not is_worker(path.name) or not path.is_socket():
                continue
            with unpatched("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink(missing_ok=True)


async def _line(connection: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n"):
        chunk = await loop.sock_recv(connection, 1024)
        if not chunk and not line:
            return ""
        if not chunk or len(line) > 4096:
            raise ConnectionError("no line came")
        line += chunk
    return line[:-1].decode()


async def _message(connection: socket.socket, descriptors: list[int]) -> dict[str, Any] | None:
    """Receive one message; the descriptors in it are the caller's, also when it raises.

    None if the sender only wanted to know whether the session is here.
    """
    data = b""
    while len(data) < LENGTH.size or len(data) < LENGTH.size + LENGTH.unpack_from(data)[0]:
        await _readable(connection)
        chunk, more, _, _ = socket.recv_fds(connection, 65536, 4)
        descriptors += more
        data += chunk
        if not data:
            return None
        if not chunk or len(data) > _MAX_MESSAGE:
            raise ConnectionError("the message is cut")
    if len(descriptors) != 1:
        raise ConnectionError(f"{len(descriptors)} descriptors came with the message")
    message: dict[str, Any] = json.loads(data[LENGTH.size :])
    return message


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
