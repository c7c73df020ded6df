"""Pulled sessions and stopped servers leave no descriptor, thread or session behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import suppress

import pytest
from bokeh.document import Document
from bokeh.server.server import Server
from flask import Flask

from flask_bokeh import (
    ApplicationFailedError,
    FlaskBokeh,
    ServerStoppedError,
    WaitTimeoutError,
)

from ..support.pulled import live_sessions
from ..support.waiting import eventually

pytestmark = pytest.mark.live


def resources() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.parametrize(
    ("transport", "way"),
    [
        ("direct", "ok"),
        ("direct", "raises"),
        ("direct", "block"),
        ("client", "ok"),
        ("direct", "timeout"),
        ("client", "raises"),
        ("client", "block"),
        ("client", "timeout"),
        ("client", "gone"),
    ],
)
def test_pulled_sessions_leave_nothing_behind(app: Flask, transport: str, way: str) -> None:
    """Many sessions leave no descriptor, thread or session, whether they succeed or fail."""
    times = 300 if transport == "direct" else 100  # a client costs ten times as much
    bokeh = FlaskBokeh()

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        if way == "raises":
            raise LookupError("gone")
        if way == "timeout":
            time.sleep(0.003)

    app.config.update(
        BOKEH_PULL_TIMEOUT=0.001 if way == "timeout" else 10.0,
        BOKEH_UNUSED_SESSION_LIFETIME=0.5,
        BOKEH_MAX_SESSIONS=None,
        BOKEH_MAX_SESSIONS_PER_USER=None,
        # Bokeh collects garbage for each session that it drops; not while we count.
        BOKEH_SERVER_OPTIONS={"check_unused_sessions_milliseconds": 10_000_000},
    )
    bokeh.init_app(app)

    possible: dict[str, tuple[type[Exception], ...]] = {
        "ok": (),
        "raises": (ApplicationFailedError,),
        "block": (ZeroDivisionError,),
        "timeout": (WaitTimeoutError,),
        "gone": (ServerStoppedError,),
    }
    raised = possible[way]
    refused: list[int] = []

    def once() -> None:
        with app.test_request_context():
            try:
                with bokeh.pull_session("/x", transport=transport):
                    if way == "block":
                        raise ZeroDivisionError
            except raised:
                refused.append(1)

    workers = 1 if transport == "direct" else 4

    def repeat(count: int) -> None:
        def several() -> None:
            for _ in range(count):
                once()

        threads = [threading.Thread(target=several) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)

    server = app.extensions["bokeh"].servers.get().bokeh
    if way == "gone":  # the client's connection is refused
        server.unlisten()
    repeat(2)  # the executors get their threads
    gc.collect()
    before = resources()
    repeat(times // workers)
    gc.collect()
    eventually(lambda: resources()[0] <= before[0], f"{before} again, not {resources()}")
    # The loop's executor and Bokeh's own may still get the rest of their threads.
    assert resources()[1] <= before[1] + (os.cpu_count() or 1) + 4
    done = times + 2 * workers
    if way == "timeout":  # on a busy machine the time-out may be noticed too late
        assert len(refused) > 0.5 * done
    else:
        assert len(refused) == (0 if way == "ok" else done)
    if way in ("ok", "raises", "block"):
        assert len(server.get_sessions()) == done
    # A client's late session is refused, stays empty, and is dropped as unused.
    if (transport, way) != ("client", "timeout"):
        good = done - len(refused)
        eventually(lambda: live_sessions(app) == good, "the failed sessions to be discarded")
    with app.app_context():
        bokeh.stop()
    assert server.get_sessions() == []


def test_servers_that_stop_in_the_block_leave_nothing(app: Flask, bokeh: FlaskBokeh) -> None:
    """Servers that stop while a view has a session leave no descriptor and no thread."""
    # Bokeh 3.10 waits for the view until BOKEH_STOP_TIMEOUT, each time.
    times = 30 if hasattr(Server, "stop_async") else 200
    app.config.update(BOKEH_STOP_TIMEOUT=0.1, BOKEH_PULL_TIMEOUT=1.0)
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)

    def once() -> None:
        # A server that runs out of time may release the session first.
        with (
            app.test_request_context(),
            suppress(ServerStoppedError, WaitTimeoutError),
            bokeh.pull_session("/x"),
        ):
            bokeh.stop()

    for _ in range(3):
        once()
    gc.collect()
    eventually(lambda: server_threads() == [], "the threads of the first to end")
    before = resources()
    for _ in range(times):
        once()
    gc.collect()
    eventually(lambda: server_threads() == [], "the threads of the last to end")
    eventually(lambda: resources()[0] <= before[0], f"{before} again, not {resources()}")
    assert resources()[1] <= before[1]


def server_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "flask_bokeh" in thread.name]
