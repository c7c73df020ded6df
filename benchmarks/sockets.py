"""One gunicorn *sync* worker that holds hundreds of live plots, and still answers pages.

A sync worker serves one request at a time and is killed when one takes longer than
``--timeout``. flask_bokeh takes each WebSocket out of it, so the worker stays free.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median, quantiles

from ._support import (
    Browser,
    ServerProcess,
    Session,
    allow_many_descriptors,
    find,
    gunicorn,
    open_session,
    print_table,
    print_versions,
)

IDLE = 8
"""Seconds of silence, longer than the worker's time-out."""
SYNC = ("--worker-class", "sync", "--timeout", "5", "--backlog", "2048")


def page_times(server: ServerProcess, path: str, count: int = 300) -> list[float]:
    """Milliseconds for a page, each over a connection of its own (sync keeps none)."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        with Browser(server.address) as browser:
            browser.get(f"{path}?user={number}")
        times.append(1000 * (time.perf_counter() - start))
    return times


def open_page(server: ServerProcess, number: int) -> Session:
    """Ask for a page, and open its WebSocket."""
    with Browser(server.address) as browser:
        page = browser.get(f"/hook?user={number}")
    return open_session(page, server.address)


def move_slider(session: Session, slider: str, value: float) -> float:
    """Milliseconds from a slider's move to the end of its callback, which redraws the curve."""
    start = time.perf_counter()
    session.change(slider, "value", value)
    return 1000 * (time.perf_counter() - start)


def patch_times(sockets: list[Session]) -> list[float]:
    """Measure three times for each socket."""
    times = []
    for session in sockets:
        slider = find(session.document(), "Slider", title="offset")["id"]
        times += [move_slider(session, slider, value) for value in (1.0, 2.0, 3.0)]
    return times


def spread(times: list[float]) -> str:
    """Median, 95th percentile and maximum."""
    return f"{median(times):.1f} / {quantiles(times, n=20)[-1]:.1f} / {max(times):.0f}"


def measure(count: int, *, leave: bool) -> None:
    rows: list[list[str]] = []

    def note(what: str, pages: list[float], plots: list[float], patches: list[float]) -> None:
        usage = server.usage()
        stats = server.stats()
        pids.add(stats["pid"])
        rows.append(
            [
                what,
                f"{stats['sockets']}",
                f"{usage.descriptors}",
                f"{usage.threads}",
                f"{usage.memory:.0f}",
                *map(spread, (pages, plots, patches)),
            ]
        )

    def while_ending(witness: Session) -> None:
        """Somebody else's plot and pages, while the sessions of closed sockets end."""
        slider = find(witness.document(), "Slider", title="offset")["id"]
        pages: list[float] = []
        plots: list[float] = []
        patches: list[float] = []
        start = time.perf_counter()
        while server.stats()["sessions"] > 1 or len(pages) < 20:
            patches.append(move_slider(witness, slider, len(patches) % 5))
            pages += page_times(server, "/empty", 1)
            plots += page_times(server, "/hook", 1)
            if time.perf_counter() - start > 1200:
                raise TimeoutError("the sessions of closed sockets do not end")
            time.sleep(0.1)
        note(f"ending, {time.perf_counter() - start:.0f} s", pages, plots, patches)

    pids: set[int] = set()
    with (
        gunicorn("_site", *SYNC, FLASK_BOKEH_UNUSED_SESSION_LIFETIME="2") as server,
        ExitStack() as stack,
        open_page(server, 0) as witness,
    ):
        page_times(server, "/hook")  # warm
        patch_times([witness])

        def note_all(what: str, sockets: list[Session]) -> None:
            patches = patch_times(sockets)
            note(what, page_times(server, "/empty"), page_times(server, "/hook"), patches)

        note_all("before", [witness] * 20)
        start = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            sockets = list(pool.map(lambda number: open_page(server, number), range(count)))
        seconds = time.perf_counter() - start
        for session in sockets:
            stack.callback(session.close)
        time.sleep(IDLE)
        note_all("open", sockets[:: max(1, count // 50)])
        stack.close()
        if not leave:
            while_ending(witness)
            note_all("ended", [witness] * 20)

    head = ["sockets", "held", "descriptors", "threads", "memory, MB"]
    print_table([*head, "page, ms", "page with a plot, ms", "slider moved, ms"], rows)
    print(f"Times are median / 95th percentile / maximum. {count} pages opened in {seconds:.1f} s.")
    print(f"One worker all the time, {IDLE} s of silence included: {len(pids) == 1}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sockets", type=int, nargs="?", default=300)
    parser.add_argument("--leave", action="store_true", help="do not watch the sessions end")
    options = parser.parse_args()
    allow_many_descriptors()
    print_versions()
    measure(options.sockets, leave=options.leave)


if __name__ == "__main__":
    main()
