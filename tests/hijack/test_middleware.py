"""Middleware between the WSGI server and Flask."""

from __future__ import annotations

from typing import Any

import pytest

from ..support.servers import Live
from ..support.sockets import RefusedError, connect
from ..support.waiting import eventually

APP = "tests.live_apps.middleware:create_app()"


INPUT = ["reads-the-body", "lint", "copies"]


RESPONSE = ["never-closes", "writes-much", "after-request-raises"]


@pytest.mark.parametrize(
    "server",
    [
        "werkzeug",
        "werkzeug-tls",
        "gunicorn-sync",
        "gunicorn-gthread",
        "gunicorn-gevent",
        "waitress",
        "uwsgi",
    ],
)
def test_middleware(live: Live, server: str) -> None:
    """WebSockets open behind unusual middleware and a failing after_request, without leaks."""
    site = live(server, APP, clean=False)
    open_once(site, "")
    before = site.stats()["descriptors"]
    for kind in INPUT + RESPONSE:
        for _ in range(3):
            open_once(site, kind)
    assert "AttributeError" not in site.log
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def test_cheroot_behind_middleware(live: Live) -> None:
    """Middleware that hides wsgi.input on cheroot causes a 501, and the log names the cause."""
    site = live("cheroot", APP, clean=False)
    for kind in ["", *RESPONSE]:
        open_once(site, kind)
    before = site.stats()["descriptors"]
    for kind in INPUT:
        with pytest.raises(RefusedError, match="501"):
            open_once(site, kind)
    site.until_logged("through 'wsgi.input' in the WSGI environ, which middleware has removed")
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def open_once(site: Any, kind: str) -> None:
    with connect(site, "/sliders", site.token(), query=f"middleware={kind}") as client:
        assert client.titles() == ["plain"]
