"""Pass a client's socket to the worker that holds its session: see :mod:`.protocol`."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from ..errors import HandoffError
from ..hijack.upgrade_request import Upgrade
from .protocol import LENGTH, NAME, TIMEOUT, check_peer_uid, is_worker

__all__ = (
    "WorkerChannel",
    "broadcast_close",
    "request_transfer",
)

logger = logging.getLogger("flask_bokeh")


class WorkerChannel:
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


def request_transfer(folder: Path | None, name: str, path: str, session_id: str) -> WorkerChannel:
    """Ask the owner of a session whether it is ready. From any thread but the owner's loop.

    :raises HandoffError: 410 if owner or session have gone, 503 if the owner does not answer.
    """
    if folder is None or not NAME.fullmatch(name):
        raise HandoffError("The pulled session lives in another process.", 410)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(str(folder / name))
        check_peer_uid(connection)
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
    return WorkerChannel(connection)


def broadcast_close(
    folder: Path, own: str | None, subject_digests: Collection[str], then: float
) -> tuple[int, list[str]]:
    """End the sessions of a user in all workers but one.

    From any thread but an owner's loop; takes as long as one worker may take to answer.

    :param own: the name of the worker that is left out.
    :param subject_digests: what the tokens that the user asked for are bound to.
    :param then: pages that were made later are left alone.
    :returns: how many were ended, and what is wrong with workers that may not have ended all.
    """
    line = f"close {json.dumps([list(subject_digests), then])}\n".encode()
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
            check_peer_uid(connection)
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
