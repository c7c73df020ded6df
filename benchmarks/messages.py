"""Delays of other visitors while one visitor sends a hundred costly messages.

The visitor has as many sessions and WebSockets, and sends all messages at once. Meanwhile somebody
else moves a slider, whose callback redraws a curve, and a third one asks for a page without a plot.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

from tests.support.attacks import ATTACKS
from tests.support.processes import Usage

from ._support import (
    TIMEOUT,
    Browser,
    ServerProcess,
    Session,
    find,
    page_token,
    print_table,
    print_versions,
)

APP = "benchmarks._site:create_app()"
SERVERS = {
    "gunicorn gthread": (
        *("-m", "gunicorn", "--bind", "127.0.0.1:0"),
        *("--worker-class", "gthread", "--threads", "4", APP),
    ),
    "flask bokeh run": ("-m", "flask", "--app", APP, "bokeh", "run", "--port", "0"),
}


def _change(new: object) -> str:
    event = {"kind": "ModelChanged", "model": {"id": "MODEL"}, "attr": "tags", "new": new}
    return json.dumps({"events": [event]})


def _roots(kind: str) -> str:
    models = [{"type": "object", "name": kind, "id": f"root{n}"} for n in range(20)]
    return json.dumps({"events": [{"kind": "RootAdded", "model": model} for model in models]})


# As much as one message may have, so these are applied.
ALLOWED: dict[str, Callable[[], str]] = {
    "20 roots, allowed": lambda: _roots("Div"),
    "20 plots, allowed": lambda: _roots("Plot"),
    "200,000 values, allowed": lambda: _change([1] * 200_000),
    "900 numbers, allowed": lambda: _change(
        {"type": "set", "entries": [n * (2**61 - 1) for n in range(900)]}
    ),
}


class Visitor:
    """A browser, as far as its cookie goes."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookie: str | None = None

    def open(self) -> Session:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)
        headers = {"Cookie": self._cookie} if self._cookie else {}
        connection.request("GET", "/hook?user=a", headers=headers)
        response = connection.getresponse()
        page = response.read().decode()
        if new := response.getheader("Set-Cookie"):
            self._cookie = new.partition(";")[0]
        connection.close()
        return Session(f"{self._address}/bokeh/hooked", page_token(page), self._cookie)


def attack(address: str, kind: str, count: int) -> None:
    """Open so many sockets, wait for a line of input, send a message by each, and wait."""
    content = (ATTACKS | ALLOWED)[kind]()
    visitor = Visitor(address)
    sessions = [visitor.open() for _ in range(count)]
    models = [find(session.document(), "Slider", title="offset")["id"] for session in sessions]
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()

    def send(session: Session, model: str) -> None:
        with suppress(OSError, RuntimeError, ValueError, EOFError):
            session.send(content.replace("MODEL", model))
            session.receive("OK")

    threads = [
        threading.Thread(target=send, args=pair) for pair in zip(sessions, models, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(time.monotonic() - start, flush=True)


def measure(name: str, kind: str, count: int, quiet: float) -> list[str]:
    """:param quiet: seconds that are measured at least."""
    stop = threading.Event()
    moves: list[float] = []
    views: list[float] = []

    def watch(times: list[float], what: Callable[[int], object]) -> None:
        number = 0
        while not stop.is_set():
            start = time.perf_counter()
            what(number)
            times.append(1000 * (time.perf_counter() - start))
            number += 1
            stop.wait(0.01)

    with ServerProcess(SERVERS[name], BENCHMARK_VISITORS="1") as server:
        pid = server.stats()["pid"]
        with Visitor(server.address).open() as session, Browser(server.address) as browser:
            slider = find(session.document(), "Slider", title="offset")["id"]

            def move(number: int) -> None:
                session.change(slider, "value", (number % 50) / 10)

            command = [sys.executable, "-m", "benchmarks.messages", "--attack", server.address]
            attacker = subprocess.Popen(
                [*command, kind, str(count if kind else 0)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert attacker.stdin is not None
            assert attacker.stdout is not None
            attacker.stdout.readline()
            before = Usage.of(pid).memory
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the most there has been
            watchers = [
                threading.Thread(target=watch, args=(moves, move)),
                threading.Thread(target=watch, args=(views, lambda _: browser.get("/empty"))),
            ]
            for watcher in watchers:
                watcher.start()
            start = time.monotonic()
            attacker.stdin.write("\n")
            attacker.stdin.flush()
            took = float(attacker.stdout.readline())
            time.sleep(max(0.0, quiet - (time.monotonic() - start)) if not kind else 0.2)
            stop.set()
            for watcher in watchers:
                watcher.join()
            most = Usage.of(pid).peak
            attacker.communicate()
    return [
        name,
        kind or "(idle)",
        f"{took:.1f}" if kind else "",
        _spread(moves),
        _spread(views),
        f"{most - before:+.0f}",
    ]


def _spread(times: list[float]) -> str:
    if len(times) < 2:
        return f"{times[0]:.0f} (once)" if times else "none"
    cuts = quantiles(times, n=20, method="inclusive")
    return f"{cuts[9]:.1f} / {cuts[18]:.0f} / {max(times):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--kinds", nargs="*", default=[*ATTACKS, *ALLOWED])
    parser.add_argument("--servers", nargs="*", default=list(SERVERS))
    parser.add_argument("--attack", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        address, kind, count = options.attack
        if kind:
            attack(address, kind, int(count))
        else:
            print("ready\n0", flush=True)
        return
    print_versions()
    print(f"{options.messages} messages of one visitor; median / 95th percentile / maximum\n")
    rows = [
        measure(name, kind, options.messages, 3.0)
        for name in options.servers
        for kind in ("", *options.kinds)
    ]
    head = ["server", "messages", "for, s", "slider, ms", "view, ms", "memory, MB"]
    print_table(head, rows)


if __name__ == "__main__":
    main()
