"""Workers, forks, reloaders and programs: each process has a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..support import ROOT
from ..support.browser import Tab
from ..support.servers import SERVERS, Live
from ..support.sockets import connect
from ..support.waiting import eventually

APP = "tests.live_apps.lifecycle:create_app()"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the application writes down what happens to it."""
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
    """With sessions open and pulled, the hooks for their end and the server's run, once each."""
    site = live(server, APP)
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


def test_the_server_starts_on_first_use(live: Live, notes: Path) -> None:
    """A page without a pulled session starts nothing: a crawler costs a signature."""
    site = live("gunicorn-sync", APP)
    for _ in range(3):
        site.get("/")
    assert events(notes) == []
    site.get("/pulled")
    assert events(notes)[0] == "loaded"


def test_each_worker_has_a_server_of_its_own(live: Live, notes: Path) -> None:
    """With --preload and several workers each process starts its own server on first use."""
    site = live("gunicorn-sync", APP, args=["--workers", "2", "--preload"])
    workers: set[str] = set()

    def both() -> bool:
        workers.add(site.get("/pulled"))
        return len(workers) == 2

    eventually(both, "both workers")
    assert pids(notes) == workers


def test_a_server_from_before_a_fork_is_not_used(
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


def test_the_reloader(live: Live, tab: Tab, notes: Path, tmp_path: Path) -> None:
    """Under the development server's reloader a plot works, before and after a reload."""
    watched = tmp_path / "watched.txt"
    watched.write_text("1")
    site = live(
        "werkzeug", APP, args=["--debug", "--extra-files", str(watched), "--exclude-patterns", "x"]
    )
    first = site.get("/pulled")
    tab.open(site.url, plots=2)
    watched.write_text("2")
    eventually(
        lambda: "Restarting with" in site.log and site.log.count("Debugger PIN") >= 2, "a reload"
    )

    def answered() -> bool:
        try:
            return site.get("/pulled") != first
        except OSError:
            return False

    eventually(answered, "the new process")
    tab.open(site.url, plots=2)
    tab.until_title("directory")
    tab.forgive("WebSocket", "websocket", "connect", "404")  # no favicon


def test_a_directory_application(live: Live, tab: Tab, notes: Path) -> None:
    """A directory application brings its theme and its static files."""
    site = live("werkzeug", APP)
    tab.open(site.url, plots=2)
    colours = "Bokeh.documents.map(d => d.get_model_by_name('plot')?.background_fill_color)"
    assert "abcdef" in str(tab.page.evaluate(f"JSON.stringify({colours})"))
    assert site.get("/bokeh/directory/static/hello.txt") == "hello\n"
    tab.forgive("404")  # no favicon


@pytest.mark.live
def test_hooks_at_exit_of_a_program(tmp_path: Path, notes: Path) -> None:
    """A program that just ends lets the hooks run, without a word on stderr."""
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
        timeout=30,
        check=True,
        env={**os.environ},
    )
    assert done.stderr == ""
    assert events(notes).count("destroyed") == 12
    assert events(notes)[-1] == "unloaded"
