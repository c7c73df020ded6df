"""Send requests to the other workers of a site: see :mod:`.protocol`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from ..errors import HandoffError
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import UpgradeRequest
from .protocol import (
    FAILED,
    NAME,
    READY,
    TIMEOUT,
    CloseRequest,
    TransferRequest,
    check_peer_uid,
    encode_client,
    is_worker,
)

__all__ = ("BroadcastResult", "WorkerChannel", "broadcast_close", "request_transfer")


def request_transfer(
    directory: Path | None, name: str, path: str, session_id: str
) -> WorkerChannel:
    """Ask the worker that has a session whether it is ready for a client.

    Call it from any thread but that worker's loop; it blocks for up to 5 seconds.

    :param directory: the site's runtime directory; None if there is none.
    :param name: name of the worker.
    :raises HandoffError: 410 if the worker or the session is gone, 503 if the worker does not
        answer.
    """
    if directory is None or not NAME.fullmatch(name):
        raise HandoffError("The pulled session lives in another process.", HTTPStatus.GONE)
    request = TransferRequest(path, session_id).encode()
    try:
        connection = _send_request(directory / name, request, time.monotonic() + TIMEOUT)
        try:
            answer = connection.recv(1)
        except BaseException:
            connection.close()
            raise
    except TimeoutError as error:
        raise HandoffError(
            f"The worker with the session did not answer within {TIMEOUT:g} s.",
            HTTPStatus.SERVICE_UNAVAILABLE,
        ) from error
    except OSError as error:  # no such file, refused, reset
        raise HandoffError(
            "The worker with the pulled session has ended.", HTTPStatus.GONE
        ) from error
    if answer != READY:
        connection.close()
        raise HandoffError("The pulled session has ended.", HTTPStatus.GONE)
    return WorkerChannel(connection)


class WorkerChannel:
    """A connection to a worker that is ready to get one client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, client: HijackedConnection, upgrade: UpgradeRequest) -> None:
        """Hand a client over to the worker. Closes this process's copy and the channel.

        :param client: hijacked with ``across_processes=True``.
        :raises HandoffError: if the worker has just ended; the client is lost then.
        """
        message = encode_client(upgrade)
        with closing(self), closing(client):
            try:
                sent = socket.send_fds(self._connection, [message], [client.fileno()])
                if rest := message[sent:]:  # a worker that has it all may have hung up by now
                    self._connection.sendall(rest)
            except OSError as error:
                raise HandoffError(
                    f"The worker with the session is gone: {error}.", HTTPStatus.GONE
                ) from error

    def close(self) -> None:
        """Close the channel. Idempotent."""
        self._connection.close()


class BroadcastResult(NamedTuple):
    """The answers of a site's other workers."""

    closed: int
    """Number of sessions that they have closed."""

    failures: list[str]
    """Messages about workers that may not have closed all their sessions."""


def broadcast_close(
    directory: Path, own_name: str | None, subject_digests: Collection[str], revoked_at: float
) -> BroadcastResult:
    """Close the sessions of a user in all other workers.

    Call it from any thread but a worker's loop; it blocks for up to 5 seconds.

    :param own_name: name of this worker, which is left out.
    :param subject_digests: digests of the user in the tokens that were issued for them.
    :param revoked_at: seconds since the epoch; sessions of later tokens stay open.
    """
    message = CloseRequest(list(subject_digests), revoked_at).encode()
    deadline = time.monotonic() + TIMEOUT
    failures: list[str] = []
    try:
        names = [name for name in os.listdir(directory) if name != own_name and is_worker(name)]
    except OSError as error:  # somebody has removed it, so no worker can be reached
        return BroadcastResult(0, [str(error)])
    asked: list[tuple[str, socket.socket]] = []  # all are asked before one has to answer
    for name in names:
        try:
            asked.append((name, _send_request(directory / name, message, deadline)))
        except TimeoutError:
            failures.append(_no_answer(name))
        except PermissionError as error:
            failures.append(f"worker {name}: {error}")
        except OSError:
            pass  # that worker has ended, and its sessions with it
    closed = 0
    for name, connection in asked:
        with closing(connection), suppress(ConnectionError):  # that worker has ended just now
            try:
                connection.settimeout(_remaining(deadline))
                answer = connection.recv(16)
            except TimeoutError:
                failures.append(_no_answer(name))
                continue
            if answer == FAILED:
                failures.append(f"worker {name} failed, and its log says why")
            else:
                closed += int(answer or b"0")
    return BroadcastResult(closed, failures)


def _send_request(path: Path, line: bytes, deadline: float) -> socket.socket:
    """Connect to a worker, send a request, and return the connection for the answer.

    :raises TimeoutError: if the worker does not accept it.
    :raises PermissionError: if the listening process runs as another user.
    :raises OSError: if no worker listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_remaining(deadline))
        connection.connect(str(path))
        check_peer_uid(connection)
        connection.sendall(line)
    except BaseException:
        connection.close()
        raise
    return connection


def _remaining(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())


def _no_answer(name: str) -> str:
    return f"worker {name} did not confirm within {TIMEOUT:g} s that it has closed them"
