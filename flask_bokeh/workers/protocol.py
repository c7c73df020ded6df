"""The protocol in which a site's workers talk to each other.

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

import os
import re
import socket
import struct

__all__ = ("LENGTH", "NAME", "TEMPORARY", "TIMEOUT", "check_peer_uid", "is_worker")


TIMEOUT = 5.0
"""Seconds in which a listener must answer, and a sender must send. A listener answers on its loop,
which is busy for two or three seconds where many sessions begin and end on a slow machine."""

NAME = re.compile(r"[A-Za-z0-9_-]{8,64}")

LENGTH = struct.Struct("!I")

TEMPORARY = ".new"


def is_worker(name: str) -> bool:
    """Whether a file of this name in the folder is a worker's socket."""
    return NAME.fullmatch(name) is not None


def check_peer_uid(connection: socket.socket) -> None:
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
