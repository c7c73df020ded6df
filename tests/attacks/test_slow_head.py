"""A client that sends its request slowly."""

from __future__ import annotations

import socket

from ..support.servers import Live
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


def test_slow_request_head_blocks_no_other_client(live: Live) -> None:
    """A request head that arrives slowly blocks no other client and opens its WebSocket."""
    site = live("gunicorn-gthread", APP, clean=False)
    visitor = Visitor(site)
    head = visitor.head(visitor.token())
    with site.open_connection() as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 50):
            slow.sendall(head[start : start + 50])
            assert visitor.get("/plain").text == "plain"
        assert slow.recv(12) == b"HTTP/1.1 101"
