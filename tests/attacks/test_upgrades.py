"""Request smuggling and resource leaks by clients of live servers of each kind."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..support.servers import SERVERS, Live, LiveServer
from ..support.sockets import connect
from ..support.visitors import Visitor
from ..support.waiting import eventually

PLAIN = [kind for kind in SERVERS if "tls" not in kind]
EARLY = "sent data before the WebSocket was open"


def head(site: LiveServer, token: str, path: str = "/hooked", **replace: str) -> bytes:
    """Return the head of a valid upgrade request with some of its lines replaced."""
    return Visitor(site).head(token, path, **{"Cookie": site.cookies.get(token), **replace})


def read(sock: socket.socket, seconds: float = 3.0) -> bytes:
    """Read until the peer closes or is silent for some seconds."""
    sock.settimeout(seconds)
    data = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while chunk := sock.recv(65536):
            data += chunk
    return data


def read_head(sock: socket.socket) -> bytes:
    """Read the head of one response."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(1)
        if not chunk:
            break
        data += chunk
    return data


@pytest.fixture(scope="module", params=PLAIN)
def site(request: pytest.FixtureRequest, module_live: Live) -> Iterator[LiveServer]:
    """A site on each kind of server; its log holds refusals, but no traceback."""
    server = module_live(str(request.param), clean=False)
    yield server
    server.stop()
    assert "Traceback" not in server.log


def test_connection_carries_one_upgrade_only(site: LiveServer) -> None:
    """A second request on a connection is not served after Tornado refuses the upgrade."""
    token = site.token("/hook")
    second = f"GET /hooked/metadata HTTP/1.1\r\nHost: {site.address}\r\n\r\n".encode()
    with site.open_connection() as sock:
        # Flask accepts it; Tornado responds 426 for the version and would keep the connection.
        sock.sendall(head(site, token, Sec_WebSocket_Version="99"))
        first = read_head(sock)
        assert first.startswith(b"HTTP/1.1 426"), first
        with contextlib.suppress(ConnectionError):
            sock.sendall(second)
        rest = read(sock)
        assert b"HTTP/1.1 200" not in rest
        assert b"/hooked" not in rest
    if site.kind == "flask-bokeh-run":  # Flask serves the connection again
        return
    with site.open_connection() as sock:  # an idle connection is closed
        sock.sendall(head(site, token, Sec_WebSocket_Version="99"))
        before = time.monotonic()
        read(sock, 60)
        assert time.monotonic() - before < 30
    eventually(lambda: site.stats()["sockets"] == 0, "all sockets to close")


def test_request_behind_an_upgrade_is_authorized_on_its_own(site: LiveServer) -> None:
    """Bytes behind an upgrade request refuse it; a request in them gets past no check."""
    token = site.token("/hook")
    with site.open_connection() as sock:
        sock.sendall(head(site, token) + head(site, token, Origin="http://evil.test"))
        answer = read(sock)
        # uWSGI drops what it has read with the head; flask bokeh run has not read it, so it
        # becomes the client's first, malformed frame.
        if site.kind in ("uwsgi", "flask-bokeh-run"):
            assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
            assert answer.count(b"HTTP/1.1") == 1
        else:  # some servers keep the connection, and answer the second request
            assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
            assert b"HTTP/1.1 101" not in answer
    eventually(lambda: site.stats()["sockets"] == 0, "all sockets to close")


@pytest.mark.parametrize(
    "line",
    [
        "X: a\nSec-WebSocket-Protocol: bokeh, evil",
        "X: a\rGET /evil HTTP/1.1",
        "Cookie: a\nHost: evil",
        "User-Agent: a\0b",
        "Cookie: a\x0bb",
        "Cookie: a\x7f",
        " folded: line",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
    ],
)
def test_malformed_head_can_not_smuggle_a_request(site: LiveServer, line: str) -> None:
    """Control characters, folded lines and bodies add no second request and change no header."""
    token = site.token("/hook")
    bad = head(site, token).replace(b"Upgrade: websocket", f"Upgrade: websocket\r\n{line}".encode())
    with site.open_connection() as sock:
        sock.sendall(bad)
        answer = read(sock, 1.0)
    # Either a WebSocket to our session (the server dropped the line) or a refusal, never both.
    assert answer.count(b"HTTP/1.1 ") <= 1
    if b" 101 " in answer:
        assert b"evil" not in answer
    eventually(lambda: site.stats()["sockets"] == 0, "all sockets to close")
    assert "Traceback" not in site.log


@pytest.mark.parametrize(
    ("line", "other", "behind"),
    [
        (b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b""),
        (b"GET ", b"HEAD ", b""),
        (b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nContent-Length: 5\r\n", b"hello"),
        (
            b"Upgrade: websocket\r\n",
            b"Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
    ],
    ids=["HTTP/1.0", "HEAD", "a body", "a body in chunks"],
)
def test_only_a_plain_get_opens_a_websocket(
    site: LiveServer, line: bytes, other: bytes, behind: bytes
) -> None:
    """HTTP/1.0, HEAD and requests with a body open no WebSocket (RFC 6455, 4.1)."""
    good = head(site, site.token("/hook"))
    assert line in good
    with site.open_connection() as sock:
        sock.sendall(good.replace(line, other, 1) + behind)
        answer = read_head(sock)
    assert b" 101 " not in answer
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
    assert site.stats()["sockets"] == 0


@pytest.mark.parametrize(
    "replace",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Host": "evil.test"},
        {"Sec_WebSocket_Protocol": "bokeh"},
        {"Sec_WebSocket_Protocol": "bokeh, a.b"},
        {"Sec_WebSocket_Protocol": "evil, TOKEN"},
        {"Sec_WebSocket_Protocol": "bokeh, TOKEN, TOKEN"},
        {"Sec_WebSocket_Protocol": "bokeh, TOKENx"},
    ],
)
def test_bad_origin_host_or_token_is_refused_before_hijack(
    site: LiveServer, replace: dict[str, str]
) -> None:
    """Flask refuses a foreign origin or host or a bad token with 403 and hijacks no socket."""
    token = site.token("/hook")
    with site.open_connection() as sock:
        values = {name: value.replace("TOKEN", token) for name, value in replace.items()}
        sock.sendall(head(site, token, **values))
        assert read_head(sock).startswith(b"HTTP/1.1 403")
    assert site.stats()["sockets"] == 0
    assert token not in site.log


def test_disconnects_during_or_after_the_head_leak_nothing(site: LiveServer) -> None:
    """Clients that disconnect before or after the hijack leak no sockets or descriptors."""
    token = site.token("/hook")
    with connect(site, "/hooked", token):
        pass
    eventually(lambda: site.stats()["sockets"] == 0, "all sockets to close")
    before = site.stats()
    for part in (20, -4, -1):
        with site.open_connection() as sock:
            sock.sendall(head(site, token)[:part])
    for _ in range(5):
        with site.open_connection() as sock:
            sock.sendall(head(site, token))
    eventually(
        lambda: (
            site.stats()["sockets"] == 0 and site.stats()["descriptors"] <= before["descriptors"]
        ),
        "sockets and descriptors to be closed",
    )


@pytest.mark.parametrize("size", [None, 8192])
def test_early_bytes_under_tls_are_refused(module_live: Live, size: int | None) -> None:
    """Bytes after the head are detected in the buffers of the server and of OpenSSL."""
    site = module_live("gunicorn-sync-tls", clean=False)
    before = site.log.count(EARLY)
    good = head(site, site.token("/hook"))
    if size is not None:  # gunicorn's first read ends with the head
        room = size - len(good) - 2 * len("Pad-1: \r\n")
        pads = "".join(f"Pad-{n}: {'x' * part}\r\n" for n, part in enumerate((room - 4000, 4000)))
        good = good[:-2] + pads.encode() + b"\r\n"
        assert len(good) == size
    assert site.context is not None
    with (
        site.open_connection() as sock,
        site.context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(good + b"GET / HTTP/1.1\r\n\r\n")
        assert read(tls).startswith(b"HTTP/1.1 400")
    eventually(lambda: site.log.count(EARLY) > before, "the refusal in the log")
    assert "Traceback" not in site.log


lines = st.lists(
    st.tuples(
        st.sampled_from(["Host", "Cookie", "User-Agent", "Sec-WebSocket-Key", "X", "Connection"]),
        st.text(st.characters(max_codepoint=255), max_size=30),
    ),
    max_size=4,
)


@pytest.mark.parametrize("site", ["werkzeug"], indirect=True)
@settings(max_examples=50, deadline=None)
@given(extra=lines)
def test_added_lines_get_at_most_one_response(
    site: LiveServer, extra: list[tuple[str, str]]
) -> None:
    """A request with any added header lines gets at most one response and raises no error."""
    token = site.token("/hook")
    added = "".join(f"\r\n{name}: {value}" for name, value in extra).encode("latin-1")
    with site.open_connection() as sock:
        sock.sendall(
            head(site, token).replace(b"Upgrade: websocket", b"Upgrade: websocket" + added)
        )
        sock.shutdown(socket.SHUT_WR)
        answer = read(sock, 2)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert "Traceback" not in site.log
