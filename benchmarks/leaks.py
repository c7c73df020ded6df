"""Descriptors, threads, memory and sessions that customized pages leave behind.

Each kind of page gets a server of its own. Its pages come in two equal batches, and after
each one the sessions that nobody opened are waited for. A leak would show in the second
batch; in the first, memory grows to what that many sessions take while they live.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from ._support import (
    Browser,
    ServerProcess,
    gunicorn,
    open_session,
    print_table,
    print_versions,
    wait_until,
)

LIFETIME = 2
"""Seconds that a session lives without a browser, so that it ends while we watch."""


def render(server: ServerProcess, path: str, count: int) -> None:
    """Ask for pages; open none."""
    with Browser(server.address) as browser:
        for number in range(count):
            browser.get(f"{path}?user={number}")


def render_and_open(server: ServerProcess, path: str, count: int) -> None:
    """Ask for pages, open each one's WebSocket, and check the edit."""
    with Browser(server.address) as browser:
        for number in range(count):
            page = browser.get(f"{path}?user={number}")
            with open_session(page, server.address) as session:
                assert session.title() == f"Sliders for {number}!"


def measure(
    name: str, path: str, count: int, batch: Callable[[ServerProcess, str, int], None]
) -> list[list[str]]:
    """Two batches of one kind of page: three rows."""
    rows: list[list[str]] = []

    def note(what: str, seconds: float, most: int) -> None:
        usage = server.usage()
        rows.append(
            [
                name,
                what,
                f"{usage.descriptors}",
                f"{usage.threads}",
                f"{usage.memory:.0f}",
                f"{most} to {sessions()}",
                f"{seconds:.0f}",
            ]
        )
        print(" ", *rows[-1], sep="  ", flush=True)

    def sessions() -> int:
        return server.stats()["sessions"]

    def settled() -> bool:
        return sessions() == 0

    with gunicorn("_site", FLASK_BOKEH_UNUSED_SESSION_LIFETIME=str(LIFETIME)) as server:
        batch(server, path, 20)
        wait_until(settled, "the sessions to end", 60)
        note("before", 0, 0)
        for number in (1, 2):
            begun = time.perf_counter()
            batch(server, path, count)
            most = sessions()
            wait_until(settled, "the sessions to end", 300)
            note(f"{number * count:,} pages", time.perf_counter() - begun, most)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=int, default=1000, help="pages in a batch")
    parser.add_argument("--client-renders", type=int, default=1000, help="with bokeh.client")
    options = parser.parse_args()
    print_versions()
    rows = [
        *measure("hook", "/hook", options.renders, render),
        *measure("hook, opened", "/hook", options.renders, render_and_open),
        *measure("`with_session`", "/direct", options.renders, render),
        *measure("`with_session`, opened", "/direct", options.renders, render_and_open),
        *measure("`with_session`, client", "/client", options.client_renders, render),
    ]
    head = ["page", "after", "descriptors", "threads", "memory, MB", "sessions, left", "seconds"]
    print()
    print_table(head, rows)


if __name__ == "__main__":
    main()
