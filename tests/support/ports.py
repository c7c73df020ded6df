"""Ports for servers that need a port known in advance, or the same port again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that no other process gets meanwhile.

    The kernel gives it to no other socket while ours is bound to it. Servers can listen on it, one
    after the other, because SO_REUSEADDR allows that if no other socket listens: see
    https://man7.org/linux/man-pages/man7/socket.7.html
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
