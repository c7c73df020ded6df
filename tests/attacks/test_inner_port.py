"""The inner port: the Bokeh server's own, on loopback."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path

from bokeh.util.token import generate_jwt_token, generate_session_id

from ..support.forgeries import BAD_TOKENS
from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor
from ..support.waiting import eventually

APP = "tests.live_apps.guarded:create_app()"


def test_inner_port_accepts_only_signed_tokens_on_loopback(
    site: LiveServer, visitor: Visitor
) -> None:
    """The inner port serves WebSockets with signed tokens, and nothing else."""
    assert visitor.status(visitor.token()) == 101
    pid, port = (json.loads(visitor.get("/stats").text)[name] for name in ("pid", "port"))
    flask_port = int(site.address.rpartition(":")[2])
    assert listening(pid) == sorted(f"0100007F:{one:04X}" for one in (port, flask_port))
    script = "autoload.js?bokeh-autoload-element=1"
    for path in (
        *("/", "/open", "/page", f"/open/{script}", f"/page/{script}", "/page/metadata"),
        *("/files/static/own.txt", "/others/static/own.txt", "/open/ws", "/page/"),
        *("/dotted.files/static/own.txt", "/dottedXfiles/static/own.txt", "/dottedXfiles/metadata"),
        *("/static/js/bokeh.min.js", "/favicon.ico", "/dottedXfiles/ws"),
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(head.encode())
            answer = sock.recv(100).split(b" ")[1]
        assert answer == (b"403" if path == "/open/ws" else b"404"), path
    unsigned = generate_jwt_token(generate_session_id(signed=False), signed=False)
    for token, accepted in (
        (None, False),
        (unsigned, False),
        (BAD_TOKENS["another key"](visitor), False),
        (visitor.token(), True),
    ):
        with request_websocket(visitor, port, token) as sock:
            received = b""
            while not re.search(b"ACK| 403 ", received) and (more := sock.recv(65536)):
                received += more
        assert (b"ACK" in received) == accepted, (token, received)


def request_websocket(visitor: Visitor, port: int, token: str | None) -> socket.socket:
    """Request a WebSocket on the inner port."""
    protocol = None if token is None else f"bokeh, {token}"
    head = visitor.head("", Sec_WebSocket_Protocol=protocol).replace(b"/bokeh", b"")
    head = head.replace(visitor.site.address.encode(), f"localhost:{port}".encode())
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(head)
    return sock


def test_session_limits_apply_on_the_inner_port(live: Live) -> None:
    """A client over a session limit gets a 503 on the inner port."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_MAX_SESSIONS": 3}, clean=False)
    visitor = Visitor(site)
    tokens = [visitor.token() for _ in range(6)]
    assert visitor.status(tokens[0]) == 101  # the server has started
    port = json.loads(visitor.get("/stats").text)["port"]
    with ExitStack() as stack:
        sockets = [stack.enter_context(request_websocket(visitor, port, token)) for token in tokens]
        assert [sock.recv(12)[9:] for sock in sockets] == [b"101"] * 3 + [b"503"] * 3
        eventually(
            lambda: json.loads(visitor.get("/stats").text)["sessions"] == 3, "three sessions"
        )


def listening(pid: int) -> list[str]:
    """Return the TCP addresses on which a process listens, in the notation of /proc."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()]
    rows = [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sorted(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links)
