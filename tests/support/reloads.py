"""Count the requests of the site of tests/live_apps/reloads.py."""

from __future__ import annotations

import json

from ..support.servers import LiveServer


def requests_of(site: LiveServer) -> dict[str, int]:
    """How often each page was asked for."""
    counts: dict[str, int] = json.loads(site.get("/counts"))
    return counts
