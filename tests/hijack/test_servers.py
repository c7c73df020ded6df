"""A site on every WSGI server."""

from __future__ import annotations

import re
import signal
import socket
import tempfile
import urllib.error

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.html import tokens_in
from ..support.personal import check_personal
from ..support.servers import REFUSED, SERVERS, Live, LiveServer
from ..support.sockets import RefusedError, connect, open_sockets
from ..support.waiting import eventually

# By module: the tests of one server come after each other, and the last of them stops it.
on_every_server = pytest.mark.parametrize("server", SERVERS, scope="module")


@pytest.fixture
def site(module_live: Live, server: str) -> LiveServer:
    return module_live(server)


@on_every_server
def test_plots_work_on_every_server(site: LiveServer, fresh_tab: Tab, server: str) -> None:
    """Every server supports personal pages and live callbacks."""
    fresh_tab.open(f"{site.url}/mine?user=ann")  # with_session
    assert fresh_tab.title() == "made for ann"
    fresh_tab.move_slider(3)
    fresh_tab.until_title("made for ann k=4")
    check_personal(site, "/mine", "/sliders", "bob", "made for bob")
    fresh_tab.open(f"{site.url}/hook?user=ann")  # a hook
    assert fresh_tab.title() == "for ann 2024 Lyon"
    fresh_tab.move_slider()
    fresh_tab.until_title("for ann 2024 Lyon k=2")
    check_personal(site, "/client", "/sliders", "bob", "made for bob")  # bokeh.client
    if server not in ("waitress", "cheroot"):  # these have no access log
        eventually(lambda: upgrades(site) == 3, "three upgrades in the log")
    # Chromium keeps spare TLS connections, and gunicorn gthread waits for a request on them.
    fresh_tab.page.context.close()
    eventually(lambda: site.stats()["sockets"] == 0, "no socket")


def upgrades(site: LiveServer) -> int:
    """Return the number of opened WebSockets of /sliders in the access log."""
    lines = [line for line in site.log.splitlines() if "/bokeh/sliders/ws?user=" in line]
    return len([line for line in lines if re.search(r"\b101\b", line)])


@on_every_server
def test_sockets_leak_nothing_on_every_server(site: LiveServer) -> None:
    """Pages and sockets that come and go leak no descriptors or threads."""

    def descriptors(limit: int) -> bool:
        stats = site.stats()
        return bool(stats["descriptors"] <= limit and stats["sockets"] == 0)

    for _ in range(2):  # executors start their threads
        with open_sockets(site, "/hook", "/hooked", 8):
            eventually(lambda: site.stats()["sockets"] == 8, "eight sockets")
        eventually(lambda: descriptors(1000), "no socket")
    before = site.stats()
    with open_sockets(site, "/hook", "/hooked", 12):
        assert site.stats()["descriptors"] >= before["descriptors"] + 10
    eventually(lambda: descriptors(before["descriptors"]), f"{before} again")
    assert site.stats()["threads"] <= before["threads"] + 4


@on_every_server
def test_sockets_are_closed_with_1001_on_every_server(site: LiveServer) -> None:
    """Every server closes its sockets with 1001 when it stops, and has logged no problem."""
    going_away(site)
    assert site.trouble == "", site.log


@pytest.mark.parametrize("server", REFUSED)
def test_tls_that_cannot_be_hijacked_is_answered_501(live: Live, server: str) -> None:
    """A TLS socket that cannot be hijacked gets a 501, and the log says what to do."""
    site = live(server, clean=False)
    with pytest.raises(RefusedError, match="501"):
        connect(site, "/hooked", site.token("/hook"))
    site.until_logged("Terminate TLS in a proxy in front, or set BOKEH_TRANSPORT = 'port'")
    assert "Traceback" not in site.log


def test_plots_on_hypercorn_need_a_port_of_their_own(live: Live, tab: Tab, port: int) -> None:
    """Plots on hypercorn fail with a notice, and work with BOKEH_TRANSPORT = 'port'."""
    site = live("hypercorn", port=port, clean=False)
    tab.page.goto(f"{site.url}/hook?user=ann")
    tab.page.get_by_text("This plot could not be reached. Reload the page.").wait_for()
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


def test_uwsgi_without_threads_is_refused(live: Live) -> None:
    """Pages on uWSGI without threads are answered 500, and the log names the missing option."""
    site = live("uwsgi-without-threads", clean=False)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        site.get("/mine")
    site.until_logged("Start it with --enable-threads.")


def test_werkzeug_on_a_unix_socket_opens_websockets(live: Live) -> None:
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


def test_server_that_keeps_its_sockets_is_logged_once(
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


def test_ctrl_c_on_gunicorn_closes_sockets_with_1001(live: Live) -> None:
    going_away(live("gunicorn-sync"), signal.SIGINT)


def going_away(site: LiveServer, how: signal.Signals | None = None) -> None:
    """Check that open sockets are closed with 1001 when the server ends."""
    socket = connect(site, "/hooked", site.token("/hook"))
    site.stop(how)
    assert socket.close_code() == 1001
    socket.close()
