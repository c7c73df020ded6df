"""The protocol in which a site's workers talk to each other, over unix sockets.

A pulled session lives in one worker process, but the client's upgrade request may reach any of
them. The workers of a site meet in a private :class:`~.runtime_dir.RuntimeDir`, where each listens
on a socket that is named after its worker ID; tokens of pulled sessions contain that ID.

Each connection carries one request: a line ``<verb> <arguments>`` and its answer.

``transfer <path> <session id>``: the worker with a client asks the worker with the session.
    The answer is ``R`` (ready) or ``G`` (the session is gone). After ``R``, the sender sends the
    client: the length of a JSON object, the object, and the descriptor (``SCM_RIGHTS``).

    The sender sends the descriptor only after the other worker's loop has answered, and has no
    share in the client from then on. If it gave up on a frozen worker and served the client
    itself, both would write to the connection when that worker wakes up.

``close <JSON: subject digests, time>``: close the sessions of a user whose tokens were revoked.
    The answer is the number of sessions and LF, or ``!`` and LF if closing them failed.

A connection without a request only tests whether the worker runs. Both ends check that the other
one runs as the same user. The protocol works on Linux and macOS; where there are no unix sockets,
workers do not talk to each other.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from ..hijack.upgrade_request import UpgradeRequest

__all__ = (
    "FAILED",
    "GONE",
    "LENGTH",
    "NAME",
    "READY",
    "TEMPORARY",
    "TIMEOUT",
    "CloseRequest",
    "TransferRequest",
    "check_peer_uid",
    "decode_client",
    "encode_client",
    "is_worker",
    "parse_request",
)

TIMEOUT = 5.0
"""Seconds in which a listener must answer, and in which a sender must send. A listener answers on
its loop, which may be busy for two or three seconds when many sessions begin and end."""

NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""Form of a worker's name."""

TEMPORARY = ".new"
"""Suffix of a socket's name until it listens."""

READY = b"R"
GONE = b"G"
FAILED = b"!\n"

LENGTH = struct.Struct("!I")
"""Length of the JSON object that goes with a client's descriptor."""


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """The question whether a worker has a session and is ready to get a client for it."""

    path: str
    session_id: str = field(repr=False)

    def encode(self) -> bytes:
        """Return the line to send."""
        return f"transfer {self.path} {self.session_id}\n".encode()


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """The order to close the sessions of a user."""

    subject_digests: list[str] = field(repr=False)
    """Digests of the user in the tokens that were issued for them."""

    revoked_at: float
    """Seconds since the epoch: sessions of tokens that were issued later stay open."""

    def encode(self) -> bytes:
        """Return the line to send."""
        return f"close {json.dumps([self.subject_digests, self.revoked_at])}\n".encode()


def parse_request(line: str) -> TransferRequest | CloseRequest:
    """Return the request that a line contains, without its LF.

    :raises ValueError: if it is malformed, or of a later version of this package.
    """
    verb, _, arguments = line.partition(" ")
    try:
        match verb:
            case "transfer":
                path, session_id = arguments.split(" ")
                return TransferRequest(path, session_id)
            case "close":
                subject_digests, revoked_at = json.loads(arguments)
                return CloseRequest(list(subject_digests), float(revoked_at))
    except (TypeError, ValueError) as error:
        raise ValueError("the request is malformed") from error
    raise ValueError("the request is unknown")


def encode_client(upgrade: UpgradeRequest) -> bytes:
    """Return the message that goes with a client's descriptor."""
    head = upgrade.head.decode("latin-1")
    body = json.dumps({"head": head, "address": upgrade.address}).encode()
    return LENGTH.pack(len(body)) + body


def decode_client(message: bytes, session_id: str) -> UpgradeRequest:
    """Return what :func:`encode_client` has encoded."""
    body: dict[str, Any] = json.loads(message[LENGTH.size :])
    return UpgradeRequest(
        head=body["head"].encode("latin-1"),
        address=tuple(body["address"]),
        session_id=session_id,
    )


def is_worker(name: str) -> bool:
    """True if a file of this name in the runtime directory is a worker's socket."""
    return NAME.fullmatch(name) is not None


def check_peer_uid(connection: socket.socket) -> None:
    """Check that the process at the other end runs as our user.

    Linux only; elsewhere the mode of the runtime directory keeps other users out.

    :raises PermissionError: if it runs as another user.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", raw)
    if user != os.geteuid():
        raise PermissionError(f"The process at the other end runs as user {user}.")
