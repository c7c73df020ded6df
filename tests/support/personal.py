"""Check a personal plot of the site of tests/live_apps/site.py without a browser."""

from __future__ import annotations

from .messages import changed
from .servers import LiveServer
from .sockets import connect


def check_personal(site: LiveServer, page: str, path: str, user: str, title: str) -> None:
    """Open the WebSocket of a user's page; check its plot's title, and that it answers a change."""
    token = site.token(f"{page}?user={user}")
    with connect(site, path, token, query=f"user={user}") as client:
        assert client.titles() == [title]
        assert client.change(changed(client.ids()["k"], 3))["type"] == "OK"
        assert client.titles() == [f"{title} k=3"]
