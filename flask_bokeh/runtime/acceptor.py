"""Accept connections on a loop, and stay calm when no descriptor is left for one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

__all__ = ("Acceptor",)

_PAUSE = 0.1
"""Seconds after which it is tried again: to ask at once would only keep the loop busy."""


class Acceptor:
    """A socket that listens. Only on the loop's thread, but for its creation."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        accepted: Callable[[socket.socket, Any], None],
    ) -> None:
        """
        :param listener: bound and listening; it is closed with this.
        :param accepted: called with each connection, which does not block, and its address.
        """
        self._loop = loop
        self._listener = listener
        self._accepted = accepted
        listener.setblocking(False)
        loop.add_reader(listener, self._accept)

    def forked(self) -> None:
        """In a child process: let go of its copy, so that the port ends with us."""
        if self._listener.fileno() != -1:
            os.close(self._listener.detach())

    def close(self) -> None:
        """Accept nobody any more. Idempotent."""
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # gone again, or no descriptor is left
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE, self._resume)
            return
        connection.setblocking(False)
        self._accepted(connection, address)

    def _resume(self) -> None:
        if self._listener.fileno() != -1:
            self._loop.add_reader(self._listener, self._accept)
