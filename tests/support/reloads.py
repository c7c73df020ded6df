"""Count the requests of the site of tests/live_apps/reloads.py."""

from __future__ import annotations

import json
from collections import Counter

from .servers import LiveServer


class RequestCounts:
    """The requests for each page of the site since this object was made."""

    def __init__(self, site: LiveServer) -> None:
        self._site = site
        self._before = self._total()

    def _total(self) -> Counter[str]:
        total = Counter[str](json.loads(self._site.get("/counts")))
        del total["GET /counts"]
        return total

    def all(self) -> dict[str, int]:
        """Return the counts of the pages that were requested."""
        return dict(self._total() - self._before)

    def __getitem__(self, request: str) -> int:
        return self.all().get(request, 0)
