"""Middleware between the WSGI server and Flask."""

from __future__ import annotations

import pytest

from ..support.servers import Live, LiveServer
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
def test_websockets_open_behind_middleware(live: Live, server: str) -> None:
    """WebSockets open behind unusual middleware and a failing after_request, without leaks."""
    site = live(server, APP, clean=False)
    token = site.token()
    open_once(site, token, "")
    before = site.stats()["descriptors"]
    for kind in INPUT + RESPONSE:
        for _ in range(3):
            open_once(site, token, kind)
    assert "AttributeError" not in site.log
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def test_cheroot_answers_501_if_middleware_hides_its_input(live: Live) -> None:
    """Middleware that hides wsgi.input on cheroot causes a 501, and the log names the cause."""
    site = live("cheroot", APP, clean=False)
    token = site.token()
    for kind in ["", *RESPONSE]:
        open_once(site, token, kind)
    before = site.stats()["descriptors"]
    for kind in INPUT:
        with pytest.raises(RefusedError, match="501"):
            open_once(site, token, kind)
    site.until_logged("through 'wsgi.input' in the WSGI environ, which middleware has removed")
    eventually(lambda: site.stats()["descriptors"] <= before, "all descriptors to be closed")


def open_once(site: LiveServer, token: str, kind: str) -> None:
    with connect(site, "/sliders", token, query=f"middleware={kind}") as client:
        assert client.titles() == ["plain"]
