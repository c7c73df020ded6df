"""Servers in processes of their own, clients and tables for the benchmarks."""

# ruff: noqa: T201
from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import platform
import re
import resource
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import websocket

from tests.support import processes
from tests.support.processes import Usage

TIMEOUT = 300
"""Seconds that one answer may take: a blocked server is a result, not an error."""

_TOKEN = re.compile(r'"token":"([A-Za-z0-9_.-]+)"')
_AUTOLOAD = re.compile(r'xhr\.open\(.GET., "([^"]+)"')
_SESSION_ID = re.compile(r'"Bokeh-Session-Id", "([^"]+)"')
_PATH = re.compile(r'data-bokeh-path="([^"]+)"')


# --- servers ------------------------------------------------------------------------------


class ServerProcess(processes.ServerProcess):
    """A server of a benchmark.

    :param environ: more variables for its process.
    """

    def __init__(self, arguments: Sequence[str], **environ: str) -> None:
        allow_many_descriptors()
        super().__init__(arguments, environ)

    def stats(self) -> dict[str, int]:
        """Return the server's statistics: pid, sessions."""
        with Browser(self.address) as browser:
            return dict(json.loads(browser.get("/stats")))

    def usage(self) -> Usage:
        """Return the usage of the process that answers, once it has closed our last connection."""
        pid = self.stats()["pid"]
        time.sleep(0.5)
        return Usage.of(pid)


def gunicorn(app: str, *options: str, **environ: str) -> ServerProcess:
    """Serve a site with one gunicorn worker; one of threads, unless the options say otherwise."""
    arguments = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1"]
    kind = options or ("--worker-class", "gthread", "--threads", "4")
    return ServerProcess([*arguments, *kind, f"benchmarks.{app}:create_app()"], **environ)


def allow_many_descriptors() -> None:
    """Raise the limit of this process and its children as far as is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- clients ------------------------------------------------------------------------------


class Browser:
    """A client that fetches pages, over one connection as long as the server keeps it."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT)

    def get(self, path: str, **headers: str) -> str:
        """:raises RuntimeError: unless the answer is 200."""
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status}\n{body[:2000]}")
        return body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()


def open_session(page: str, address: str) -> Session:
    """Open the WebSocket of a page's plot, as BokehJS would.

    :param address: of the site.
    """
    if path := _PATH.search(page):
        return Session(f"{address}/bokeh{path[1]}", _match(_TOKEN, page))
    # Bokeh's own embed tag: a script with the token comes from the Bokeh server.
    host, _, script_path = _match(_AUTOLOAD, page).removeprefix("http://").partition("/")
    headers = {"Bokeh-Session-Id": _match(_SESSION_ID, page)}
    with Browser(host) as browser:
        script = browser.get(f"/{script_path}", **headers)
    app = script_path.partition("/")[0]
    return Session(f"{host}/{app}", _match(_TOKEN, script))


def page_token(page: str) -> str:
    """The token of the first plot of a page of ours."""
    return _match(_TOKEN, page)


def _match(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise LookupError(f"{pattern.pattern} is not in\n{text[:2000]}")
    return match[1]


class Session:
    """An open WebSocket to a session, after Bokeh's ACK."""

    def __init__(self, app_address: str, token: str, cookie: str | None = None) -> None:
        self._socket = websocket.create_connection(
            f"ws://{app_address}/ws",
            subprotocols=["bokeh", token],
            cookie=cookie,
            origin=f"http://{app_address.partition('/')[0]}",
            timeout=TIMEOUT,
        )
        self._sent = 0
        self.receive("ACK")

    def document(self) -> dict[str, Any]:
        """The whole document, as BokehJS gets it."""
        return dict(self._ask("PULL-DOC-REQ", "PULL-DOC-REPLY", {})["doc"])

    def title(self) -> str:
        """The plot's title in the server's document."""
        return str(find(self.document(), "Title")["attributes"]["text"])

    def change(self, model: str, attribute: str, value: Any) -> None:
        """Change a model as a widget does, and wait until its callbacks have run."""
        event = {
            "kind": "ModelChanged",
            "model": {"id": model},
            "attr": attribute,
            "new": value,
        }
        self._ask("PATCH-DOC", "OK", {"events": [event]})

    def receive(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; others are left out."""
        while True:
            header, _, content = (self._frame() for _ in range(3))
            for _ in range(2 * header.get("num_buffers", 0)):
                self._frame(parse=False)
            if header["msgtype"] == kind:
                return dict(content)
            if header["msgtype"] == "ERROR":
                raise RuntimeError(content["text"])

    def send(self, content: str, kind: str = "PATCH-DOC") -> None:
        """Send a message whose content may be anything."""
        for part in (json.dumps({"msgid": "0", "msgtype": kind}), "{}", content):
            self._socket.send(part)

    def close(self) -> None:
        self._socket.close(timeout=5)

    def _ask(self, kind: str, answer: str, content: dict[str, Any]) -> dict[str, Any]:
        self._sent += 1
        for part in ({"msgid": str(self._sent), "msgtype": kind}, {}, content):
            self._socket.send(json.dumps(part))
        return self.receive(answer)

    def _frame(self, *, parse: bool = True) -> Any:
        # Browsers on loopback do not wait with their ACKs; Python's sockets would, and make
        # Bokeh's own port look 40 ms slower than it is for a visitor.
        self._socket.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = self._socket.recv()
        return json.loads(data) if parse else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def find(document: Any, name: str, **attributes: Any) -> dict[str, Any]:
    """A model in a serialized document.

    :param name: of its class.
    :param attributes: that it must have.
    """
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            mine = one.get("attributes", {})
            if one.get("name") == name and "id" in one and attributes.items() <= mine.items():
                return one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    raise LookupError(name)


# --- measuring and printing ---------------------------------------------------------------


def wait_until(check: Callable[[], bool], what: str, seconds: float) -> None:
    """:raises TimeoutError: if it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


def print_versions() -> None:
    """Return the measured versions and the machine."""
    names = ("bokeh", "tornado", "flask", "gunicorn")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    cores = len(os.sched_getaffinity(0))
    print(f"{time.strftime('%Y-%m-%d')}: Python {platform.python_version()}, {versions}; ", end="")
    print(f"{platform.system()}, {cores} cores\n")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table whose columns line up."""
    widths = [max(len(line[n]) for line in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    print(line(head))
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    print(line(rule))
    for row in rows:
        print(line(row))
    print(flush=True)
