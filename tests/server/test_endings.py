"""Many sessions that end at once: other work goes on meanwhile, and their memory is freed."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.application.application import SessionContext
from bokeh.application.handlers.lifecycle import LifecycleHandler
from bokeh.document import Document
from bokeh.models import Slider
from flask import Flask

from flask_bokeh import FlaskBokeh
from flask_bokeh.bokeh_api.v3.session_cleaner import check_interval, gc_frozen

from ..support import ROOT
from ..support.waiting import eventually

SESSIONS = 30
IMMORTAL = 10_000
"""More than the immortal objects, which Python 3.12 freezes whenever it collects."""


class Large:
    """Data that an application keeps for a session, in cycles that only the collector can free."""

    def __init__(self) -> None:
        self.me = self


class Ends(LifecycleHandler):
    """An application that records the loop's turns and collections while its sessions end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        """Set when the first session ends."""
        self.seconds = 0.0
        """How long the loop is blocked at the end of each session."""
        self.turns = 0
        """Iterations of the loop since then."""
        self.ended: list[int] = []
        """The number of turns at the end of each session."""
        self.looked_at: list[int] = []
        """Number of objects that each full collection has looked at, while sessions ended."""
        self.documents: list[weakref.ref[Document]] = []
        self.large: list[weakref.ref[Large]] = []

    def modify_document(self, doc: Document) -> None:
        slider, large = Slider(start=0, end=1, value=0), Large()
        slider.on_change("value", lambda attr, old, new: self.keep(slider, large))
        doc.on_session_destroyed(lambda context: None)  # Bokeh collects once more then
        doc.add_root(slider)
        self.documents.append(weakref.ref(doc))
        self.large.append(weakref.ref(large))

    def keep(self, *objects: object) -> None: ...

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        self.ended.append(self.turns)
        self.begun.set()
        time.sleep(self.seconds)

    async def count_turns(self) -> None:
        await self.begun.wait()
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def note_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2 and 0 < len(self.ended) < SESSIONS:
            self.looked_at.append(len(gc.get_objects()))


@pytest.fixture
def ends(app: Flask, bokeh: FlaskBokeh) -> Iterator[Ends]:
    yield Ends()
    with app.app_context():  # or its server would go on beside the next test's
        bokeh.stop()


def fill(app: Flask, bokeh: FlaskBokeh, ends: Ends, **config: Any) -> Any:
    """Start a server with unused sessions of ann."""
    app.config.update(BOKEH_MAX_SESSIONS_PER_USER=None, **config)
    bokeh.add_application("/x", Application(ends))
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    for _ in range(SESSIONS):
        with app.test_request_context(), bokeh.pull_session("/x"):
            pass
    return app.extensions["bokeh"].servers.get()


def end(how: str, app: Flask, bokeh: FlaskBokeh) -> None:
    """End all sessions; "unused" ones end by themselves."""
    with app.app_context():
        if how == "logout":
            bokeh.close_sessions(user="ann")
        elif how == "stop":
            bokeh.stop()


@pytest.mark.live
@pytest.mark.parametrize("how", ["unused", "logout"])
def test_loop_runs_between_the_ends_of_two_sessions(
    app: Flask, bokeh: FlaskBokeh, ends: Ends, how: str
) -> None:
    """The loop is left to other work for as long as the end of a session has blocked it."""
    ends.seconds = 0.01
    lifetime = 3 if how == "unused" else 60
    server = fill(app, bokeh, ends, BOKEH_UNUSED_SESSION_LIFETIME=lifetime)
    server.loop.submit(ends.count_turns)
    end(how, app, bokeh)
    eventually(lambda: len(ends.ended) == SESSIONS, "the end of all sessions")
    # Bokeh itself lets the loop turn a few times for each session.
    turns = statistics.median(after - before for before, after in pairwise(ends.ended))
    assert turns > 30, ends.ended


@pytest.mark.live
@pytest.mark.parametrize("how", ["unused", "logout", "stop"])
def test_collections_look_at_few_objects_while_sessions_end(
    app: Flask, bokeh: FlaskBokeh, ends: Ends, how: str
) -> None:
    """Bokeh's own garbage collections look at few objects, however many there are."""
    lifetime = 3 if how == "unused" else 60
    fill(app, bokeh, ends, BOKEH_UNUSED_SESSION_LIFETIME=lifetime)
    objects = len(gc.get_objects())
    gc.callbacks.append(ends.note_collection)
    try:
        end(how, app, bokeh)
        eventually(lambda: len(ends.ended) == SESSIONS, "the end of all sessions")
    finally:
        gc.callbacks.remove(ends.note_collection)
    assert len(ends.looked_at) > SESSIONS
    # Our own collections, which are rare, may look at everything.
    expensive = [count for count in ends.looked_at if count > objects / 10]
    assert len(expensive) <= SESSIONS / 10, (ends.looked_at, objects)
    eventually(lambda: gc.get_freeze_count() < IMMORTAL, "everything to thaw")


@pytest.mark.live
def test_memory_of_ended_sessions_is_freed(app: Flask, bokeh: FlaskBokeh, ends: Ends) -> None:
    """The memory of an ended session is freed at once; the application's own cycles soon after."""
    fill(app, bokeh, ends, BOKEH_UNUSED_SESSION_LIFETIME=2)
    gc.disable()  # only the server collects
    try:
        eventually(lambda: len(ends.ended) == SESSIONS, "the end of all sessions")
        eventually(lambda: not any(one() for one in ends.documents), "the documents to go")
        eventually(lambda: not any(one() for one in ends.large), "the large data to go")
    finally:
        gc.enable()


def run(program: str) -> Any:
    """Run a program in a fresh process, and return its output, which is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_objects_that_the_site_froze_stay_frozen() -> None:
    """A site freezes objects itself for gunicorn --preload, for example."""
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        with gc_frozen():
            inside = gc.get_freeze_count()
        after = gc.get_freeze_count()
    finally:
        gc.unfreeze()
    assert before > IMMORTAL
    # A few objects of the test run itself may have been freed.
    assert before - 100 < inside <= before
    assert before - 100 < after <= before


@pytest.mark.live
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_child_forked_while_sessions_end_is_not_frozen() -> None:
    """The child process can also freeze and thaw again."""
    parent, child, again = run(
        "import gc, json, os\n"
        "from flask_bokeh.bokeh_api.v3.session_cleaner import gc_frozen\n"
        "with gc_frozen():\n"
        "    frozen = gc.get_freeze_count()\n"
        "    read, write = os.pipe()\n"
        "    if (pid := os.fork()) == 0:\n"
        "        first = gc.get_freeze_count()\n"
        "        with gc_frozen():\n"
        "            pass\n"
        "        os.write(write, json.dumps([first, gc.get_freeze_count()]).encode())\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    print(json.dumps([frozen, *json.loads(os.read(read, 1000))]))\n"
    )
    assert parent > IMMORTAL > max(child, again)


def test_nested_gc_frozen_thaws_with_the_outer_block() -> None:
    """Two servers may end sessions at the same time."""
    with gc_frozen():
        with gc_frozen():
            pass
        assert gc.get_freeze_count() > IMMORTAL
    assert gc.get_freeze_count() < IMMORTAL


def test_check_interval_follows_lifetime_and_option() -> None:
    """The interval is a part of the lifetime, or Bokeh's own option."""
    assert check_interval(60, None) == 6
    assert check_interval(1000, None) == 17
    assert check_interval(0, None) == 0.25
    assert check_interval(60, 1500) == 1.5
    with pytest.raises(ValueError, match="check_unused_sessions_milliseconds is -1"):
        check_interval(60, -1)
