"""Hundreds of sessions that end at the same time, and what somebody else notices of it.

Each round opens as many plots, closes their WebSockets, and watches another visitor's page and
slider until the sessions have ended.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from ._support import (
    ServerProcess,
    Session,
    allow_many_descriptors,
    find,
    gunicorn,
    print_table,
    print_versions,
)
from .sockets import move_slider, open_page, page_times, spread

LIFETIME = 2
"""Seconds that a session waits for a browser to come back."""
EVERY = 0.05
"""Seconds between two pages, and between two moves."""
HEAD = ["sessions", "living", "memory, MB", "seconds", "page, ms", "slider moved, ms"]


def watch(server: ServerProcess, witness: Session, left: int) -> tuple[list[float], list[float]]:
    """The times of another visitor's pages and moves, until so few sessions are left.

    Each comes at a fixed rate and is timed from when it should have come: one that waits for ten
    seconds would otherwise be a single time, however many it keeps from coming.
    """
    slider = find(witness.document(), "Slider", title="offset")["id"]
    start = time.perf_counter()
    done = Event()

    def at_a_rate(ask: Callable[[float], object]) -> list[float]:
        times: list[float] = []
        due = time.perf_counter()
        while not done.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            ask(len(times) % 5)
            times.append(1000 * (time.perf_counter() - due))
            due += EVERY
        return times

    with ThreadPoolExecutor(2) as pool:
        moves = pool.submit(at_a_rate, lambda value: move_slider(witness, slider, value))
        pages = pool.submit(at_a_rate, lambda _: page_times(server, "/empty", 1))
        try:
            while time.perf_counter() - start < 4 or server.stats()["sessions"] > left:
                time.sleep(0.2)
                if time.perf_counter() - start > 1200:
                    raise TimeoutError("the sessions of closed sockets do not end")
        finally:
            done.set()
        return pages.result(), moves.result()


def measure(count: int, rounds: int) -> None:
    rows: list[list[str]] = []

    def note(what: str, left: int) -> None:
        living = server.stats()["sessions"]
        start = time.perf_counter()
        pages, moves = watch(server, witness, left)
        seconds = time.perf_counter() - start
        memory = server.usage().memory
        rows.append(
            [what, f"{living}", f"{memory:.0f}", f"{seconds:.1f}", spread(pages), spread(moves)]
        )

    environ = {"FLASK_BOKEH_UNUSED_SESSION_LIFETIME": f"{LIFETIME}"}
    with gunicorn("_site", **environ) as server, open_page(server, 0) as witness:
        page_times(server, "/hook", 50)  # warm
        note("before", 1)
        for number in range(1, rounds + 1):
            with ThreadPoolExecutor(8) as pool:
                sockets = list(pool.map(lambda one: open_page(server, one), range(count)))
            note(f"open, round {number}", count + 1)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(Session.close, sockets))
            time.sleep(LIFETIME / 2)  # none of them has ended
            note(f"ending, round {number}", 1)
            time.sleep(3)
            note(f"ended, round {number}", 1)
    print_table(HEAD, rows)
    print("Times are median / 95th percentile / maximum.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sessions", type=int, nargs="?", default=600)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    allow_many_descriptors()
    print_versions()
    measure(options.sessions, options.rounds)


if __name__ == "__main__":
    main()
