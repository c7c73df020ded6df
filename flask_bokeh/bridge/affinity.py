"""Pass a client's socket to the worker that holds its session.

A pulled session lives in one worker process, its owner; the upgrade request may reach any
other. Workers of a site meet in a private folder, where each listens on a unix socket under
the random name that is in its tokens. The worker with the client knocks::

    sender: <path> <session id> LF      owner: R (ready), or G (that session is gone)
    sender: length, JSON, and the client's descriptor (SCM_RIGHTS)

It also tells all of them when the sessions of a user are to end::

    sender: close <JSON: what the user's tokens are bound to, time> LF
                                                    worker: <number> LF, or ! LF if it failed

The descriptor is sent only after the owner's loop has said that it is ready, and then the
client is the owner's: a sender that gave up on a frozen owner and served the client itself
would corrupt the connection when the owner wakes up.

Both ends check that the other runs as the same user. Linux and macOS; where there are no unix
sockets, nothing is passed on.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from ..errors import HandoffError
from .upgrade import Upgrade

__all__ = ("Passage", "close_elsewhere", "is_worker", "knock", "same_user")

logger = logging.getLogger("flask_bokeh")

TIMEOUT = 5.0
"""Seconds that an owner may take to answer a knock, and a sender to send. It answers on its loop,
which is busy for two or three of them where many sessions begin and end on a slow machine."""

_NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")
LENGTH = struct.Struct("!I")
TEMPORARY = ".new"


class Passage:
    """The way to an owner that is ready. For one client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, client: socket.socket, upgrade: Upgrade) -> None:
        """Give a client away. Whatever happens, it is not ours any more.

        :raises HandoffError: if the owner has died just now; the client is lost.
        """
        head = upgrade.head.decode("latin-1")
        body = json.dumps({"head": head, "address": upgrade.address}).encode()
        message = LENGTH.pack(len(body)) + body
        try:
            sent = socket.send_fds(self._connection, [message], [client.fileno()])
            if rest := message[sent:]:  # an owner that has it all may have hung up by now
                self._connection.sendall(rest)
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
        same_user(connection)
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


def is_worker(name: str) -> bool:
    """Whether a file of this name in the folder is a worker's socket."""
    return _NAME.fullmatch(name) is not None


def close_elsewhere(
    folder: Path, own: str | None, digests: Collection[str], then: float
) -> tuple[int, list[str]]:
    """End the sessions of a user in all workers but one.

    From any thread but an owner's loop; takes as long as one worker may take to answer.

    :param own: the name of the worker that is left out.
    :param digests: what the tokens that the user asked for are bound to.
    :param then: pages that were made later are left alone.
    :returns: how many were ended, and what is wrong with workers that may not have ended all.
    """
    line = f"close {json.dumps([list(digests), then])}\n".encode()
    deadline = time.monotonic() + TIMEOUT
    waiting: list[tuple[str, socket.socket]] = []
    closed = 0
    failed: list[str] = []
    try:
        found = [name for name in os.listdir(folder) if name != own and is_worker(name)]
    except OSError as error:  # somebody has removed it, and with it the way to the workers
        return 0, [str(error)]
    for name in found:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.connect(str(folder / name))
            same_user(connection)
            connection.sendall(line)
        except TimeoutError:
            connection.close()
            failed.append(_silent(name))
        except PermissionError as error:
            connection.close()
            failed.append(f"worker {name}: {error}")
        except OSError:  # that worker has ended, and its sessions with it
            connection.close()
        else:
            waiting.append((name, connection))
    for name, connection in waiting:
        with closing(connection), suppress(ConnectionError):  # it has ended just now
            try:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                answer = connection.recv(16)
            except TimeoutError:
                failed.append(_silent(name))
                continue
            if answer.startswith(b"!"):
                failed.append(f"worker {name} failed, and its log says why")
            else:
                closed += int(answer or b"0")
    return closed, failed


def _silent(name: str) -> str:
    return f"worker {name} did not say within {TIMEOUT:g} s that it has ended them"


def same_user(connection: socket.socket) -> None:
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
