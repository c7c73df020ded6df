"""Count the requests of the site of tests/live_apps/reloads.py."""

from __future__ import annotations

import json

from ..support.servers import LiveServer


def requests_of(site: LiveServer) -> dict[str, int]:
    """Return the number of requests for each page."""
    counts: dict[str, int] = json.loads(site.get("/counts"))
    return counts
