"""The worker's end of what workers say to each other: see :mod:`flask_bokeh.bridge.affinity`."""

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

from ..listening import Listening
from ..native import leaves_some, original
from .affinity import LENGTH, TEMPORARY, TIMEOUT, same_user
from .upgrade import Upgrade

__all__ = ("Owner",)

logger = logging.getLogger("flask_bokeh")

_MAX_MESSAGE = 128 * 1024

Adopt = Callable[[socket.socket, Upgrade], None]
Holds = Callable[[str, str], bool]
Close = Callable[[str, list[str], float], Awaitable[int]]


class Owner:
    """Receives clients for sessions of this process. On its loop's thread only."""

    def __init__(self, folder: Path, name: str, holds: Holds, adopt: Adopt, close: Close) -> None:
        """
        :param holds: says whether a session, by path and id, lives here.
        :param adopt: takes a client over.
        :param close: ends the sessions of a user, and says how many.
        """
        self._path = folder / name
        self._holds = holds
        self._adopt = adopt
        self._close = close
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: Listening | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to listen, and clear away what dead workers left.

        :raises OSError: if the folder can't be used, for instance if its name is too long.
        """
        listener = original("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM)
        new = self._path.with_suffix(TEMPORARY)
        try:
            listener.bind(str(new))
            listener.listen(128)
            new.rename(self._path)  # so whoever finds it can connect
        except OSError:
            listener.close()
            raise
        self._listening = Listening(loop, listener, self._accept)
        _clear_away(self._path.parent, keep=self._path)

    def forked(self) -> None:
        """In a child process, which does not listen."""
        if self._listening is not None:
            self._listening.forked()

    def close(self) -> None:
        """Stop to listen. Idempotent."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.close()
        self._path.unlink(missing_ok=True)
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
                same_user(sender)
                if not (line := await _line(sender)):
                    return  # only asked whether we live
                loop = asyncio.get_running_loop()
                if line.startswith("close "):
                    closed = await self._close(*json.loads(line[6:]))
                    await loop.sock_sendall(sender, f"{closed}\n".encode())
                    return
                path, session_id = line.split(" ")
                if not self._holds(path, session_id):
                    await loop.sock_sendall(sender, b"G")
                    return
                await loop.sock_sendall(sender, b"R")
                message = await _message(sender, descriptors)
            if message is None:
                return
            if not leaves_some(descriptors[0]):
                raise OSError("hardly any descriptor is left")
            upgrade = Upgrade(
                head=message["head"].encode("latin-1"),
                address=tuple(message["address"]),
                session_id=session_id,
            )
            os.set_inheritable(descriptors[0], False)
            self._adopt(original("socket", "socket")(fileno=descriptors.pop()), upgrade)
        except Exception as error:  # noqa: BLE001  # a sender that dies is not our trouble
            logger.warning("Another worker asked for something that was not done: %r", error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _clear_away(folder: Path, keep: Path) -> None:
    """Remove the sockets of workers that have died: those that refuse."""
    for path in set(folder.iterdir()) - {keep}:
        with suppress(OSError):
            if not path.is_socket():
                continue
            if path.suffix == TEMPORARY:
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()
                continue
            with original("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
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
