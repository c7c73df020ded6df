"""Sockets in children of a worker and in greenlets."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..support.html import tokens_in
from ..support.servers import Live, LiveServer
from ..support.sockets import connect
from ..support.waiting import eventually


def test_forked_child_keeps_no_socket_open(live: Live) -> None:
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


def test_greenlets_pull_sessions_of_their_own(module_live: Live) -> None:
    """Greenlets that pull through bokeh.client concurrently each get their own session."""
    site = module_live("gunicorn-gevent")
    with ThreadPoolExecutor(6) as pool:
        pages = list(pool.map(lambda n: site.get(f"/client?user=u{n}"), range(6)))
    for n, page in enumerate(pages):
        (token,) = tokens_in(page)
        with connect(site, "/sliders", token, query=f"user=u{n}") as client:
            assert client.titles() == [f"made for u{n}"]


def test_plots_answer_while_a_view_blocks_gevent(module_live: Live, tmp_path: Path) -> None:
    """Plots under gevent run on a native thread, which a blocking view does not hold up."""
    site = module_live("gunicorn-gevent")
    with (
        connect(site, "/tiny", site.token("/tiny/direct")) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        until = tmp_path / "until"
        blocking = pool.submit(site.get, f"/block?until={until}")
        eventually(lambda: not answers(site), "the view to block")
        assert client.send_big(10) == "OK"
        assert not blocking.done()
        until.touch()
        assert blocking.result(60) == "the file exists"


def answers(site: LiveServer) -> bool:
    with site.open_connection() as sock:
        sock.settimeout(0.3)
        sock.sendall(f"GET /favicon.ico HTTP/1.1\r\nHost: {site.address}\r\n\r\n".encode())
        try:
            return bool(sock.recv(10))
        except TimeoutError:
            return False
