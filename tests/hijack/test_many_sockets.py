"""Many sockets on one worker, and the resources they leak."""

from __future__ import annotations

import pytest

from ..support.servers import SERVERS, Live
from ..support.sockets import open_sockets
from ..support.waiting import eventually


@pytest.mark.parametrize("server", SERVERS)
def test_nothing_leaks_from_sockets(live: Live, server: str) -> None:
    """Pages and sockets that come and go leak no descriptors or threads."""
    site = live(server)

    def descriptors(limit: int) -> bool:
        return bool(site.stats()["descriptors"] <= limit and site.stats()["sockets"] == 0)

    for _ in range(2):  # executors start their threads
        with open_sockets(site, "/hook", "/hooked", 8):
            eventually(lambda: site.stats()["sockets"] == 8, "eight sockets")
        eventually(lambda: descriptors(1000), "no socket")
    before = site.stats()
    with open_sockets(site, "/hook", "/hooked", 20):
        assert site.stats()["descriptors"] >= before["descriptors"] + 18
    eventually(lambda: descriptors(before["descriptors"]), f"{before} again")
    assert site.stats()["threads"] <= before["threads"] + 4


def test_one_sync_worker_holds_300_sockets(live: Live) -> None:
    """One gunicorn sync worker holds 300 live plots, and still answers pages."""
    site = live("gunicorn-sync", args=["--timeout", "5"])
    worker = site.stats()["pid"]
    with open_sockets(site, "/tiny/direct", "/tiny", 300):
        stats = site.stats()
        assert stats["sockets"] == 300
        assert stats["nodelay"] == [1] * 300
        assert stats["pid"] == worker
        assert "flask-bokeh" in site.get("/hook")
    eventually(lambda: site.stats()["sockets"] == 0, "no socket")
