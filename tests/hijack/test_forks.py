"""Sockets in children of a worker and in greenlets."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from ..support.html import tokens_in
from ..support.servers import Live
from ..support.sockets import connect


def test_a_forked_child_keeps_no_socket(live: Live) -> None:
    """A client's connection is closed even while a forked child of the worker lives."""
    site = live("gunicorn-sync", clean=False)
    token = site.token("/hook?user=ann")
    with connect(site, "/hooked", token, query="user=ann") as client:
        child = int(site.post("/fork"))
        try:
            assert site.post("/close") == "1"
            assert client.close_code() == 1008
            client._socket.sock.settimeout(5)
            assert client._socket.sock.recv(1) == b""
        finally:
            os.kill(child, signal.SIGKILL)


def test_clients_under_gevent(live: Live) -> None:
    """Greenlets that pull through bokeh.client concurrently each get their own session."""
    site = live("gunicorn-gevent")
    with ThreadPoolExecutor(6) as pool:
        pages = list(pool.map(lambda n: site.get(f"/client?user=u{n}"), range(6)))
    for n, page in enumerate(pages):
        (token,) = tokens_in(page)
        with connect(site, "/sliders", token, query=f"user=u{n}") as client:
            assert client.titles() == [f"made for u{n}"]
