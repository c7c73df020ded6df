"""One server for each process: workers, forks, reloaders and programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..live_apps.lifecycle import bokeh, create_app
from ..support import ROOT
from ..support.servers import SERVERS, Live
from ..support.sockets import connect
from ..support.waiting import eventually

APP = "tests.live_apps.lifecycle:create_app()"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the application records its life-cycle events."""
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("LIFECYCLE_LOG", str(path))
    return path


def events(notes: Path) -> list[str]:
    return [line.rpartition(" ")[0] for line in notes.read_text().splitlines()]


def pids(notes: Path) -> set[str]:
    return {line.rpartition(" ")[2] for line in notes.read_text().splitlines()}


END = {"loaded", "created", "destroyed", "document destroyed", "unloaded"}


@pytest.mark.parametrize("server", [one for one in SERVERS if not one.endswith("tls")])
def test_hooks_run_when_the_server_ends(live: Live, notes: Path, server: str) -> None:
    """Each life-cycle hook runs once, in order, with a session open and another one pulled.

    Under a WSGI server, pages without a pulled session do not start the Bokeh server.
    """
    site = live(server, APP)
    for _ in range(3):
        site.get("/")
    assert events(notes) == (["loaded"] if server == "flask-bokeh-run" else [])
    site.get("/pulled")
    socket = connect(site, "/x", site.token())
    before = time.monotonic()
    site.stop()
    assert time.monotonic() - before < 30
    found = events(notes)
    assert (found[:2], found[-1]) == (["loaded", "created"], "unloaded")
    assert sorted(found) == sorted(END)
    socket.close()


@pytest.mark.parametrize("how", ["HUP", "--max-requests"])
def test_hooks_run_when_a_worker_ends(live: Live, notes: Path, how: str) -> None:
    """A worker that gunicorn replaces stops its server; the next worker starts its own."""
    site = live("gunicorn-gthread", APP, args=["--max-requests", "4"] if how != "HUP" else [])
    worker = site.get("/pulled")
    with connect(site, "/x", site.token()):
        if how == "HUP":
            site.process.send_signal(signal.SIGHUP)
        else:
            site.get("/")
        eventually(lambda: "unloaded" in events(notes), "the end of the worker")
    assert sorted(events(notes)) == sorted(END)
    assert pids(notes) == {worker}
    assert eventually(lambda: site.get("/pulled"), "a new worker") != worker


def test_each_worker_starts_its_own_server(live: Live, notes: Path) -> None:
    """With --preload and two workers, each process starts its own server on first use."""
    site = live("gunicorn-sync", APP, args=["--workers", "2", "--preload"])
    workers: set[str] = set()

    def both() -> bool:
        workers.add(site.get("/pulled"))
        return len(workers) == 2

    eventually(both, "both workers")
    assert pids(notes) == workers


def test_server_from_before_a_fork_is_not_used(
    live: Live, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server started in the parent stays there; the worker starts its own and serves plots."""
    monkeypatch.setenv("LIFECYCLE_START", "1")
    site = live("gunicorn-sync", APP, args=["--preload"])
    worker = site.get("/pulled")
    assert len(pids(notes)) == 2
    with connect(site, "/x", site.token()) as socket:
        assert socket.ack["msgtype"] == "ACK"
    site.stop(signal.SIGTERM)
    assert sorted(events(notes)).count("unloaded") == 2
    assert worker in pids(notes)


def test_sessions_open_before_and_after_a_reload(live: Live, notes: Path, tmp_path: Path) -> None:
    """The development server's reloader restarts the server while a session is open."""
    watched = tmp_path / "watched.txt"
    watched.write_text("1")
    site = live(
        "werkzeug", APP, args=["--debug", "--extra-files", str(watched), "--exclude-patterns", "x"]
    )
    first = site.get("/pulled")
    with connect(site, "/x", site.token()):
        watched.write_text("2")
        eventually(
            lambda: "Restarting with" in site.log and site.log.count("Debugger PIN") >= 2,
            "a reload",
        )

    def answered() -> bool:
        try:
            return site.get("/pulled") != first
        except OSError:
            return False

    eventually(answered, "the new process")
    with connect(site, "/x", site.token()) as socket:
        assert "k" in socket.ids()


def test_directory_application_has_its_theme_and_static_files(notes: Path) -> None:
    site = create_app()
    response = site.test_client().get("/bokeh/directory/static/hello.txt")
    assert response.text == "hello\n"
    response.close()
    with site.test_request_context():
        with bokeh.pull_session("/directory", transport="client") as session:
            plot = session.document.select_one({"name": "plot"})
            assert plot.background_fill_color == "#abcdef"
        bokeh.stop()  # its hooks write the notes


@pytest.mark.live
def test_hooks_run_when_a_program_ends(tmp_path: Path, notes: Path) -> None:
    """A program may end without stop(); it writes nothing to stderr."""
    code = (
        "from tests.live_apps.lifecycle import create_app; app = create_app();"
        "client = app.test_client();"
        "[client.get('/pulled') for _ in range(12)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ},
    )
    assert done.stderr == ""
    assert events(notes).count("destroyed") == 12
    assert events(notes)[-1] == "unloaded"
