"""Logouts that reach all workers, or report that they could not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh
from flask_bokeh.workers.sender import broadcast_close

from ..support.servers import Live
from ..support.visitors import Upgraded, Visitor
from ..support.waiting import eventually
from ..support.workers import SECRET, close, give_away, living, open_to_all, pull

APP = "tests.live_apps.guarded:create_app()"


ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize("user", ["ann", "x" * 200_000], ids=["short", "long"])
def test_logout_reaches_other_workers_for_a_user_of_any_length(two: list[Any], user: str) -> None:
    (here, ours), (there, theirs) = two
    there.config["USER"] = user
    # The token also contains the user and has a size limit, so a page cannot have a longer name.
    state = there.extensions["bokeh"]
    subject_digests = state.authorizer.subject_digests(user)
    pull(there, theirs, user="bob")
    reservation = next(iter(state.servers.get().limits._reservations.values()))
    assert reservation.subject in subject_digests or len(user) > 10_000
    reservation.user = user
    assert close(here, ours, user) == 1
    eventually(lambda: living(there) == 0, "the end there")


@pytest.mark.live  # for its waits
@pytest.mark.parametrize("take", [shutil.rmtree, open_to_all])
def test_logout_reaches_workers_whose_folder_is_lost(
    two: list[Any], short: Path, take: Callable[[Path], None]
) -> None:
    """Logouts reach the other worker even right after the folder is lost."""
    (here, ours), (there, theirs) = two
    (folder,) = short.iterdir()
    for _ in range(2):
        pull(there, theirs)
        assert living(there) == 1
        take(folder)
        close(here, ours)
        eventually(lambda: living(there) == 0, "the end there")
        folder = here.extensions["bokeh"].find_runtime_dir()
        eventually(lambda: len(sockets(folder)) == 2, "both to listen again")  # noqa: B023
    pull(there, theirs)
    assert close(here, ours) == 1


def sockets(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_socket()]


@pytest.mark.live  # for its waits
def test_worker_without_a_folder_closes_its_own_sessions(
    app: Flask, bokeh: FlaskBokeh, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker without a folder closes its own sessions, warns, and listens once one exists."""
    app.config["BOKEH_RUNTIME_DIR"] = str(short / "nowhere")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    pull(app, bokeh)
    assert close(app, bokeh) == 1
    assert "A user's sessions were closed in this worker only. Logouts and" in caplog.text
    (short / "nowhere").mkdir()
    folder = app.extensions["bokeh"].find_runtime_dir()
    eventually(lambda: len(sockets(folder)) == 1, "this worker to listen")
    with app.app_context():
        bokeh.stop()
    assert sockets(folder) == []


def test_broadcast_close_reports_a_missing_folder(tmp_path: Path) -> None:
    closed, failed = broadcast_close(tmp_path / "gone", None, [], 0.0)
    assert closed == 0
    assert "No such file" in failed[0]


def test_logout_reaches_both_workers_of_gunicorn(live: Live, short: Path) -> None:
    """A logout closes the user's plots in both workers each time after their folder is lost."""
    config = {"BOKEH_RUNTIME_DIR": str(short), "BOKEH_SECRET_KEY": SECRET}
    site = live("gunicorn-gthread", APP, config=config, args=["--workers", "2"], clean=False)
    ann = Visitor(site)
    lost: set[Path] = set()
    ways: list[Callable[[Path], Any]] = [open_to_all, shutil.rmtree]
    for take in [*([give_away] if ROOT else []), *ways]:
        ann.log_in("ann")
        pids: set[int] = set()
        opened: list[Upgraded] = []

        def both_have_one() -> Path | None:
            opened.append(stack.enter_context(ann.upgrade(ann.token())))  # noqa: B023
            pids.add(json.loads(ann.get("/stats").text)["pid"])  # noqa: B023
            (folder,) = set(short.iterdir()) - lost or {short}
            both = len(sockets(folder)) == 2 and len(pids) == 2  # noqa: B023
            return folder if both and len(opened) > 8 else None  # noqa: B023

        with ExitStack() as stack:
            folder = eventually(both_have_one, "plots in both workers")
            assert folder is not None
            take(folder)
            lost.add(folder)
            assert ann.get("/logout").text == "out"
            assert [one.close_code() for one in opened] == [1008] * len(opened), take
