"""Customized pages a second: flask_bokeh beside the recipe of Bokeh's documentation.

All servers run at the same time, on the same machine, with the same application, and take
turns, so that whatever else the machine does hits all of them. One client, which waits for
each page: the best case for the recipe, whose threads get in each other's way.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from tests.support.processes import Usage

from ._support import (
    Browser,
    ServerProcess,
    gunicorn,
    open_session,
    print_table,
    print_versions,
    wait_until,
)


@dataclass(eq=False)
class Contender:
    """One way to make a customized page, and what was measured of it."""

    name: str
    path: str
    renders: int
    """Pages in a round."""
    site: ServerProcess
    bokeh: ServerProcess
    """The process that the sessions live in."""
    seconds: list[float] = field(default_factory=list)
    """For one page, the median of each round."""
    rates: list[float] = field(default_factory=list)
    """Pages a second, of each round."""
    shown: list[float] = field(default_factory=list)
    """Seconds from asking for a page to having the document that it shows."""
    arrived: int = 0

    @property
    def pids(self) -> dict[str, int]:
        """The processes that take part."""
        pids = {"Flask": self.site.stats()["pid"]}
        if self.bokeh is not self.site:
            pids["Bokeh server"] = self.bokeh.stats()["pid"]
        return pids

    @property
    def cpu(self) -> float:
        """Seconds of the processor so far, of all its processes."""
        return sum(Usage.of(pid).cpu for pid in self.pids.values())

    def render(self, count: int) -> None:
        """Ask for pages, and for nothing else, as fast as they come."""
        with Browser(self.site.address) as browser:
            browser.get(f"{self.path}?user=first")  # opens the connection
            start = time.perf_counter()
            for number in range(count):
                browser.get(f"{self.path}?user={number}")
            self.rates.append(count / (time.perf_counter() - start))

    def show(self, count: int) -> None:
        """Ask for pages, and open each one's WebSocket: is the edit there?"""
        with Browser(self.site.address) as browser:
            for number in range(count):
                start = time.perf_counter()
                page = browser.get(f"{self.path}?user=visitor-{number}")
                with open_session(page, self.site.address) as session:
                    title = session.title()
                    self.shown.append(time.perf_counter() - start)
                self.arrived += title == f"Sliders for visitor-{number}!"


def start(stack: ExitStack, lifetime: float, renders: int) -> list[Contender]:
    """Start all servers, each in a process of its own.

    :param lifetime: seconds that an unused session lives, the same for all.
    """
    environ = {"FLASK_BOKEH_UNUSED_SESSION_LIFETIME": str(lifetime)}

    def site(app: str, **more: str) -> ServerProcess:
        return stack.enter_context(gunicorn(app, **environ, **more))

    server = stack.enter_context(ServerProcess(["-m", "benchmarks._recipe"], **environ))
    recipe = site("_recipe", RECIPE_URL=f"{server.url}/sliders")
    ours = [
        ("`{% bokeh %}` and a hook", "/hook", 10 * renders),
        ("`with_session`", "/direct", renders),
        ('`with_session`, `transport="client"`', "/client", renders),
    ]
    return [
        Contender("documented recipe", "/", renders, recipe, server),
        *(Contender(*one, server, server) for one in ours if (server := site("_site"))),
    ]


def measure(rounds: int, renders: int, opens: int) -> None:
    """Interleaved rounds. Sessions outlive them, so that nobody is charged with another's end."""
    with ExitStack() as stack:
        contenders = start(stack, lifetime=3600, renders=renders)
        for one in contenders:
            with Browser(one.site.address) as browser:
                for _ in range(5):
                    browser.get(one.path)
        before = {
            one: {name: Usage.of(pid) for name, pid in one.pids.items()} for one in contenders
        }
        for number in range(rounds):
            for one in contenders:
                one.render(one.renders)
                one.show(opens)
            print(f"round {number + 1}: ", end="")
            print(*(f"{one.rates[-1]:.1f}" for one in contenders), "pages/s", flush=True)
        print()
        after = {one: {name: Usage.of(pid) for name, pid in one.pids.items()} for one in contenders}
    recipe = contenders[0]
    head = ["page", "pages/s", "x recipe", "page and its document, ms", "x recipe", "edits arrived"]
    rows = []
    for one in contenders:
        rate, shown = median(one.rates), median(one.shown)
        rows.append(
            [
                one.name,
                f"{rate:.1f}",
                f"{rate / median(recipe.rates):.1f}",
                f"{1000 * shown:.0f}",
                f"{median(recipe.shown) / shown:.1f}",
                f"{one.arrived} of {len(one.shown)}",
            ]
        )
    print_table(head, rows)
    rows = []
    for one in contenders:
        count = rounds * (one.renders + opens + 1)
        for name in before[one]:
            old, new = before[one][name], after[one][name]
            rows.append(
                [
                    f"{one.name}: {name}",
                    str(count),
                    f"{old.descriptors} to {new.descriptors}",
                    f"{old.threads} to {new.threads}",
                ]
            )
    print_table(["process", "pages", "descriptors", "threads"], rows)


def measure_whole_lives(renders: int) -> None:
    """The whole cost of a page, from the request to the end of its session that nobody opened."""
    rows = []
    with ExitStack() as stack:
        for one in start(stack, lifetime=2, renders=renders):

            def gone(one: Contender = one) -> bool:
                return one.bokeh.stats()["sessions"] == 0

            one.render(5)
            wait_until(gone, "the sessions to end", 60)
            before, begun = one.cpu, time.perf_counter()
            one.render(one.renders)
            wait_until(gone, "the sessions to end", 300)
            seconds = time.perf_counter() - begun
            cpu = 1000 * (one.cpu - before) / (one.renders + 1)
            rows.append([one.name, str(one.renders), f"{cpu:.1f}", f"{seconds:.1f}"])
    print_table(["page", "pages", "CPU ms a page", "seconds until all have ended"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--renders", type=int, default=40, help="pages in a round (hook: x 10)")
    parser.add_argument("--opens", type=int, default=10, help="pages in a round that are opened")
    options = parser.parse_args()
    print_versions()
    measure(options.rounds, options.renders, options.opens)
    measure_whole_lives(options.renders)


if __name__ == "__main__":
    main()
