"""Many sockets on one worker."""

from __future__ import annotations

from ..support.servers import Live
from ..support.sockets import open_sockets
from ..support.waiting import eventually


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
