"""The round trip of a slider's move through each server's own port, and through Bokeh's.

Both sockets are of one process and one Bokeh server, each with a session of its own; they are
moved in turns.
"""

from __future__ import annotations

import argparse
import time
from statistics import median, quantiles

from ._support import (
    Browser,
    ServerProcess,
    Session,
    find,
    open_session,
    page_token,
    print_table,
    print_versions,
)

APP = "benchmarks._site:create_app"
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--worker-class")
SERVERS = {
    "Werkzeug": ("-m", "flask", "--app", f"{APP}()", "run", "--port", "0"),
    "gunicorn sync": (*GUNICORN, "sync", f"{APP}()"),
    "gunicorn gthread": (*GUNICORN, "gthread", "--threads", "4", f"{APP}()"),
    "gunicorn gevent": (*GUNICORN, "gevent", f"{APP}()"),
    "waitress": ("-m", "waitress", "--listen", "127.0.0.1:0", "--call", APP),
    "cheroot": ("-m", "tests.live_apps.serve", "cheroot", f"{APP}()"),
    "uWSGI": (
        *("-m", "tests.live_apps.serve", "uwsgi", f"{APP}()"),
        *("--enable-threads", "--threads", "4"),
    ),
    "flask bokeh run": ("-m", "flask", "--app", f"{APP}()", "bokeh", "run", "--port", "0"),
}


def move(session: Session, slider: str, value: float) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    session.change(slider, "value", value)
    return 1000 * (time.perf_counter() - start)


def measure(name: str, command: tuple[str, ...], count: int) -> list[str]:
    def page() -> str:
        with Browser(server.address) as browser:
            return browser.get("/hook?user=a")

    with ServerProcess(command) as server, open_session(page(), server.address) as handed:
        port = server.stats()["port"]
        with Session(f"localhost:{port}/hooked", page_token(page())) as own:
            both: list[tuple[Session, str, list[float]]] = [
                (session, find(session.document(), "Slider", title="offset")["id"], [])
                for session in (handed, own)
            ]
            for number in range(count):
                # Whoever is first finds a colder processor, so they take turns at that, too.
                for session, slider, times in both if number % 2 else reversed(both):
                    times.append(move(session, slider, (number % 50) / 10))
            measured = [one[2] for one in both]
    ours, bokehs = (median(one[count // 10 :]) for one in measured)
    slow = [quantiles(one[count // 10 :], n=20)[-1] for one in measured]
    return [
        name,
        f"{ours:.2f} / {slow[0]:.2f}",
        f"{bokehs:.2f} / {slow[1]:.2f}",
        f"{100 * (ours / bokehs - 1):+.1f} %",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=1000)
    options = parser.parse_args()
    print_versions()
    rows = [measure(name, command, options.moves) for name, command in SERVERS.items()]
    print_table(["server", "Flask's port, ms", "Bokeh's port, ms", "difference"], rows)


if __name__ == "__main__":
    main()
