"""A site on every WSGI server."""

from __future__ import annotations

import re
import signal
import socket
import tempfile
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.html import tokens_in
from ..support.servers import REFUSED, SERVERS, Live, LiveServer
from ..support.sockets import RefusedError, connect
from ..support.waiting import eventually


@pytest.mark.parametrize("server", SERVERS)
def test_a_site_on_every_server(live: Live, tab: Tab, server: str) -> None:
    """Every server supports personal pages and live callbacks, and stops with a clean log."""
    site = live(server)
    for user in ("ann", "bob"):  # with_session
        tab.open(f"{site.url}/mine?user={user}")
        assert tab.title() == f"made for {user}"
        tab.move_slider(3)
        tab.until_title(f"made for {user} k=4")
    tab.open(f"{site.url}/hook?user=ann")  # a hook
    assert tab.title() == "for ann 2024 Lyon"
    tab.move_slider()
    tab.until_title("for ann 2024 Lyon k=2")
    tab.open(f"{site.url}/client?user=bob")  # bokeh.client
    assert tab.title() == "made for bob"
    tab.move_slider()
    tab.until_title("made for bob k=2")
    if server not in ("waitress", "cheroot"):  # these have no access log
        lines = [line for line in site.log.splitlines() if "/bokeh/sliders/ws?user=" in line]
        assert len([line for line in lines if re.search(r"\b101\b", line)]) == 3
    # Chromium keeps spare TLS connections, and gunicorn gthread waits for a request on them.
    tab.page.context.close()
    eventually(lambda: site.stats()["sockets"] == 0, "no socket")
    going_away(site)


@pytest.mark.parametrize("server", REFUSED)
def test_tls_that_can_not_be_hijacked(live: Live, server: str) -> None:
    """A TLS socket that cannot be hijacked gets a 501, and the log says what to do."""
    site = live(server, clean=False)
    with pytest.raises(RefusedError, match="501"):
        connect(site, "/hooked", site.token("/hook"))
    site.until_logged("Terminate TLS in a proxy in front, or set BOKEH_TRANSPORT = 'port'")
    assert "Traceback" not in site.log


def test_a_server_that_keeps_its_sockets(live: Live, tab: Tab, port: int) -> None:
    """Plots on hypercorn fail with a notice, and work with BOKEH_TRANSPORT = 'port'."""
    site = live("hypercorn", port=port, clean=False)
    tab.page.goto(f"{site.url}/hook?user=ann")
    tab.page.get_by_text("This plot could not be reached. Reload the page.").wait_for(
        timeout=60_000
    )
    site.until_logged("does not hand out its clients' sockets, so plots can't use its port.")
    site.stop()
    tab.trouble.clear()
    config = {"BOKEH_TRANSPORT": "port", "BOKEH_ALLOW_WS_ORIGIN": [site.url]}
    live("hypercorn", config=config, port=port)
    for page, title in (("/hook", "for ann 2024 Lyon"), ("/mine", "made for ann")):
        tab.open(f"{site.url}{page}?user=ann")
        tab.until_title(title)
        tab.move_slider(2)
        tab.until_title(f"{title} k=3")


def test_gevent_does_not_hold_up_plots(live: Live) -> None:
    """A view that blocks under gevent does not block plots, which run on a native thread."""
    site = live("gunicorn-gevent")
    with (
        connect(site, "/tiny", site.token("/tiny/direct")) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        blocking = pool.submit(site.get, "/block")
        eventually(lambda: not answers(site), "the view to block", 3)
        assert client.send_big(10) == "OK"
        assert not blocking.done()
        assert blocking.result(10) == "blocked"


def answers(site: LiveServer) -> bool:
    host, port = site.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.settimeout(0.3)
        sock.sendall(f"GET /favicon.ico HTTP/1.1\r\nHost: {site.address}\r\n\r\n".encode())
        try:
            return bool(sock.recv(10))
        except TimeoutError:
            return False


def test_uwsgi_without_threads(live: Live) -> None:
    """uWSGI without threads is refused, and the log names the missing option."""
    site = live("uwsgi-without-threads", clean=False)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        site.get("/mine")
    site.until_logged("Start it with --enable-threads.")


def test_a_unix_socket(live: Live) -> None:
    """A client of Werkzeug's server on a Unix socket gets its WebSocket."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/site"
        site = live("werkzeug", args=["--host", f"unix://{path}"])
        assert site.address == path

        def ask(request: str) -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10)
            sock.connect(path)
            sock.sendall(f"GET {request}".encode())
            return sock

        with ask("/hook?user=ann HTTP/1.0\r\nHost: site\r\n\r\n") as sock:
            page = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Host": "site"}
        upgrade |= {"Origin": "http://site", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        upgrade |= {"Sec-WebSocket-Protocol": f"bokeh, {tokens_in(page)[0]}"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade.items())
        with ask(f"/bokeh/hooked/ws?user=ann HTTP/1.1\r\n{lines}\r\n") as sock:
            answer = b""
            while b'"ACK"' not in answer:
                chunk = sock.recv(65536)
                assert chunk, answer
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 101 ")


def test_a_closed_server_is_told_of_once(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not hand out its sockets is logged once, with the remedy."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    app.add_url_rule("/", view_func=lambda: bokeh.server_document("/x"))
    for _ in range(3):
        app.test_client().get("/", environ_overrides={"SERVER_SOFTWARE": "closed/1"})
    (line,) = caplog.messages
    assert line.startswith("closed/1 does not hand out its clients' sockets")
    assert "BOKEH_TRANSPORT = 'port'" in line


def test_ctrl_c_on_gunicorn(live: Live) -> None:
    """Ctrl-C on gunicorn closes open sockets with 1001."""
    going_away(live("gunicorn-sync"), signal.SIGINT)


def going_away(site: LiveServer, how: signal.Signals | None = None) -> None:
    """Check that open sockets are closed with 1001 when the server ends."""
    socket = connect(site, "/hooked", site.token("/hook"))
    site.stop(how)
    assert socket.close_code() == 1001
    socket.close()
