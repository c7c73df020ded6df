"""Serve one request of another worker: see :mod:`.protocol`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Protocol

from ..hijack.upgrade_request import UpgradeRequest
from ..runtime.descriptors import is_below_fd_reserve
from ..runtime.gevent import unpatched
from .protocol import (
    FAILED,
    GONE,
    LENGTH,
    READY,
    TIMEOUT,
    CloseRequest,
    TransferRequest,
    check_peer_uid,
    decode_client,
    parse_request,
)

__all__ = ("TransferTarget", "serve")

logger = logging.getLogger("flask_bokeh")

_MAX_LINE = 4096
_MAX_MESSAGE = 128 * 1024


class TransferTarget(Protocol):
    """A server that does what other workers ask for. Called on its loop."""

    def has_session(self, path: str, session_id: str) -> bool:
        """True if a session lives here and has not been closed."""
        ...

    def adopt_socket(self, client: socket.socket, upgrade: UpgradeRequest) -> None:
        """Serve a client from now on. Takes the socket over, and closes it if this raises."""
        ...

    async def close_sessions(self, subject_digests: list[str], revoked_at: float) -> int:
        """Close the sessions of a user, and return how many.

        :param subject_digests: digests of the user in the tokens that were issued for them.
        :param revoked_at: seconds since the epoch; sessions of later tokens stay open.
        """
        ...

    def close_missed_sessions(self) -> None:
        """Close what should have been closed while other workers could not reach this one."""
        ...


async def serve(sender: socket.socket, target: TransferTarget) -> None:
    """Read a request, do what it asks for, and answer. Errors are logged.

    :param sender: connection of another worker; the caller closes it.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            check_peer_uid(sender)
            line = await _receive_line(sender)
            if line is None:
                return  # the other worker only tested whether this one runs
            match parse_request(line):
                case TransferRequest() as request:
                    await _transfer(sender, target, request)
                case CloseRequest() as request:
                    await _close(sender, target, request)
    except Exception as error:  # noqa: BLE001  # a sender that dies must not stop this worker
        logger.warning("A request from another worker failed: %r", error)


async def _transfer(
    sender: socket.socket, target: TransferTarget, request: TransferRequest
) -> None:
    loop = asyncio.get_running_loop()
    if not target.has_session(request.path, request.session_id):
        await loop.sock_sendall(sender, GONE)
        return
    await loop.sock_sendall(sender, READY)
    descriptors: list[int] = []
    try:
        message = await _receive_client(sender, descriptors)
        if message is None:
            return  # the sender only asked whether the session is here
        if not is_below_fd_reserve(descriptors[0]):
            raise OSError("hardly any descriptor is left")
        upgrade = decode_client(message, request.session_id)
        os.set_inheritable(descriptors[0], False)
        target.adopt_socket(unpatched("socket", "socket")(fileno=descriptors.pop()), upgrade)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def _close(sender: socket.socket, target: TransferTarget, request: CloseRequest) -> None:
    try:
        count = await target.close_sessions(request.subject_digests, request.revoked_at)
        answer = b"%d\n" % count
    except Exception:
        logger.exception("Sessions that another worker has asked to close may still be open.")
        answer = FAILED
    await asyncio.get_running_loop().sock_sendall(sender, answer)


async def _receive_line(sender: socket.socket) -> str | None:
    """Receive a line, and return it without its LF; None if the sender has sent nothing."""
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n"):
        chunk = await loop.sock_recv(sender, 1024)
        if not chunk and not line:
            return None
        if not chunk or len(line) > _MAX_LINE:
            raise ConnectionError("no complete line was received")
        line += chunk
    return line[:-1].decode()


async def _receive_client(sender: socket.socket, descriptors: list[int]) -> bytes | None:
    """Receive the message that comes with a client's descriptor; None if there is none.

    :param descriptors: gets what is received, for the caller to close, even if this raises.
    """
    message = b""
    while len(message) < LENGTH.size or len(message) < LENGTH.size + LENGTH.unpack_from(message)[0]:
        await _until_readable(sender)
        chunk, received, _, _ = socket.recv_fds(sender, 65536, 4)
        descriptors += received
        message += chunk
        if not message:
            return None
        if not chunk or len(message) > _MAX_MESSAGE:
            raise ConnectionError("the message is incomplete or too long")
    if len(descriptors) != 1:
        raise ConnectionError(f"{len(descriptors)} descriptors came with the message")
    return message


async def _until_readable(sender: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sender, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sender)
