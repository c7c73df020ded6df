"""Pass a client's socket to the worker that holds its session.

A pulled session lives in one worker process, its owner; the upgrade request may reach any
other. Workers of a site meet in a private folder, where each listens on a unix socket under
the random name that is in its tokens. The worker with the client knocks::

    sender: <path> <session id> LF      owner: R (ready), or G (that session is gone)
    sender: length, JSON, and the client's descriptor (SCM_RIGHTS)

The descriptor is sent only after the owner's loop has said that it is ready, and then the
client is the owner's: a sender that gave up on a frozen owner and served the client itself
would corrupt the connection when the owner wakes up.

Both ends check that the other runs as the same user. Linux and macOS; where there are no unix
sockets, nothing is passed on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import HandoffError
from ..native import original

__all__ = ("Owner", "Passage", "knock", "private_folder")

logger = logging.getLogger("flask_bokeh")

TIMEOUT = 2.0
"""Seconds that an owner may take to answer a knock, and a sender to send."""

_NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")
_LENGTH = struct.Struct("!I")
_MAX_MESSAGE = 128 * 1024
_TEMPORARY = ".new"

Adopt = Callable[[socket.socket, bytes, tuple[str, int]], None]
Holds = Callable[[str, str], bool]


def private_folder(key: bytes, parent: str | None) -> Path | None:
    """Make or find the folder in which the workers of a site meet; only we may enter it.

    :param key: the key that signs the site's tokens: who has it may meet here.
    :param parent: where to make it; else where the system keeps such things.
    :returns: None where this can't be done safely, which is logged.
    """
    if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "send_fds"):
        return None
    base = Path(parent or os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    digest = sha256(b"flask_bokeh workers" + key).hexdigest()[:16]
    folder = base / f"flask_bokeh-{os.geteuid()}-{digest}"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        logger.warning("Workers can't pass sockets on: %s (see BOKEH_SOCKET_DIR)", error)
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & 0o077:
        logger.warning(
            "Workers can't pass sockets on: %s must be a folder that only we may enter "
            "(see BOKEH_SOCKET_DIR).",
            folder,
        )
        return None
    return folder


class Owner:
    """Receives clients for sessions of this process. On its loop's thread only."""

    def __init__(self, folder: Path, name: str, holds: Holds, adopt: Adopt) -> None:
        """
        :param holds: says whether a session, by path and id, lives here.
        :param adopt: takes a client over.
        """
        self._path = folder / name
        self._holds = holds
        self._adopt = adopt
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to listen, and clear away what dead workers left.

        :raises OSError: if the folder can't be used, for instance if its name is too long.
        """
        listener = original("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM)
        new = self._path.with_suffix(_TEMPORARY)
        try:
            listener.setblocking(False)
            listener.bind(str(new))
            listener.listen(128)
            new.rename(self._path)  # so whoever finds it can connect
        except OSError:
            listener.close()
            raise
        self._listener = listener
        loop.add_reader(listener, self._accept, loop, listener)
        _clear_away(self._path.parent, keep=self._path)

    def close(self) -> None:
        """Stop to listen. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        self._path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()

    def _accept(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            sender, _ = listener.accept()
        except OSError:  # gone again, or no descriptor is left: then asking at once is no help
            loop.remove_reader(listener)
            loop.call_later(0.1, self._resume, loop, listener)
            return
        sender.setblocking(False)
        task = loop.create_task(self._receive(sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: sender.close())  # also one that never began

    def _resume(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        if listener is self._listener:
            loop.add_reader(listener, self._accept, loop, listener)

    async def _receive(self, sender: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                _same_user(sender)
                if not (line := await _line(sender)):
                    return  # only asked whether we live
                path, session_id = line.split(" ")
                loop = asyncio.get_running_loop()
                if not self._holds(path, session_id):
                    await loop.sock_sendall(sender, b"G")
                    return
                await loop.sock_sendall(sender, b"R")
                message = await _message(sender, descriptors)
            os.set_inheritable(descriptors[0], False)
            client = original("socket", "socket")(fileno=descriptors.pop())
            self._adopt(client, message["head"].encode("latin-1"), tuple(message["address"]))
        except Exception as error:  # noqa: BLE001  # a sender that dies is not our trouble
            logger.warning("A socket that another worker passed on did not arrive: %r", error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class Passage:
    """The way to an owner that is ready. For one client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, client: socket.socket, head: bytes, address: tuple[str, int]) -> None:
        """Give a client away. Whatever happens, it is not ours any more.

        :raises HandoffError: if the owner has died just now; the client is lost.
        """
        body = json.dumps({"head": head.decode("latin-1"), "address": address}).encode()
        message = _LENGTH.pack(len(body)) + body
        try:
            sent = socket.send_fds(self._connection, [message], [client.fileno()])
            self._connection.sendall(message[sent:])
        except OSError as error:
            raise HandoffError(f"The worker with the session is gone: {error}.", 410) from error
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()


def knock(folder: Path | None, name: str, path: str, session_id: str) -> Passage:
    """Ask the owner of a session whether it is ready. From any thread but the owner's loop.

    :raises HandoffError: 410 if owner or session have gone, 503 if the owner does not answer.
    """
    if folder is None or not _NAME.fullmatch(name):
        raise HandoffError("The pulled session lives in another process.", 410)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(str(folder / name))
        _same_user(connection)
        connection.sendall(f"{path} {session_id}\n".encode())
        answer = connection.recv(1)
    except TimeoutError as error:
        connection.close()
        raise HandoffError(
            f"The worker with the session did not answer within {TIMEOUT:g} s.", 503
        ) from error
    except OSError as error:  # no such file, refused, reset
        connection.close()
        raise HandoffError("The worker with the pulled session has ended.", 410) from error
    if answer != b"R":
        connection.close()
        raise HandoffError("The pulled session has ended.", 410)
    return Passage(connection)


def _clear_away(folder: Path, keep: Path) -> None:
    """Remove the sockets of workers that have died: those that refuse."""
    for path in set(folder.iterdir()) - {keep}:
        with suppress(OSError):
            if path.suffix == _TEMPORARY:
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()
                continue
            with original("socket", "socket")(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink(missing_ok=True)


def _same_user(connection: socket.socket) -> None:
    """:raises PermissionError: unless the other end runs as our user (Linux; the folder's mode
    is what keeps others out elsewhere).
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", raw)
    if user != os.geteuid():
        raise PermissionError(f"A process of user {user} is on the other end.")


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


async def _message(connection: socket.socket, descriptors: list[int]) -> dict[str, Any]:
    """Receive one message; the descriptors in it are the caller's, also when it raises."""
    data = b""
    while len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
        await _readable(connection)
        chunk, more, _, _ = socket.recv_fds(connection, 65536, 4)
        descriptors += more
        data += chunk
        if not chunk or len(data) > _MAX_MESSAGE:
            raise ConnectionError("the message is cut")
    if len(descriptors) != 1:
        raise ConnectionError(f"{len(descriptors)} descriptors came with the message")
    message: dict[str, Any] = json.loads(data[_LENGTH.size :])
    return message


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
