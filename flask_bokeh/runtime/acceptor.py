"""Accept connections on a loop, also while the process has no file descriptor left."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

__all__ = ("Acceptor",)

_PAUSE = 0.1
"""Seconds until the next try when accept() failed: an immediate one would keep the loop busy."""


class Acceptor:
    """A listening socket. For the loop's thread, except for its creation.

    :param listener: bound and listening; :meth:`close` closes it.
    :param accepted: called with each connection, which does not block, and its address.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        accepted: Callable[[socket.socket, Any], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._accepted = accepted
        listener.setblocking(False)
        loop.add_reader(listener, self._accept)

    def forked(self) -> None:
        """Close the inherited socket, in a child process, so that the parent's can be rebound."""
        if self._listener.fileno() != -1:
            os.close(self._listener.detach())

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # the client has gone, or no descriptor is left
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE, self._resume)
            return
        connection.setblocking(False)
        self._accepted(connection, address)

    def _resume(self) -> None:
        if self._listener.fileno() != -1:
            self._loop.add_reader(self._listener, self._accept)
