"""A logout reaches everybody, in all workers, or says that it could not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import Div
from flask import Flask, current_app
from flask_login import LoginManager, UserMixin, login_user, logout_user

from flask_bokeh import FlaskBokeh, SessionEndedError, SessionsNotEndedError
from flask_bokeh.state import BokehState
from flask_bokeh.workers.runtime_dir import RuntimeDir
from flask_bokeh.workers.sender import broadcast_close

from .conftest import Live, eventually
from .visitors import Upgraded, Visitor

KEY = b"a key for the tests only"
SECRET = "a secret key of two workers"
APP = "tests.live_apps.guarded:create_app()"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can give a folder away")


@pytest.fixture
def short() -> Iterator[Path]:
    # tmp_path may be too long for the name of a unix socket.
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


# --- the folder ---------------------------------------------------------------------------------


def give_away(folder: Path) -> None:
    os.chown(folder, 65534, 65534)


def open_to_all(folder: Path) -> None:
    folder.chmod(0o755)


def make_a_link(folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to(folder.parent)


def make_a_file(folder: Path) -> None:
    folder.rmdir()
    folder.touch()


TAKEN = [
    pytest.param(give_away, "belongs to user 65534", marks=as_root),
    (open_to_all, "has mode 0755"),
    (make_a_link, "is a symbolic link"),
    (make_a_file, "is no folder"),
]


@pytest.mark.parametrize(("take", "why"), TAKEN)
def test_a_folder_that_was_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, take: Callable[[Path], None], why: str
) -> None:
    """All workers use the next name, which nobody can know, and the log tells once."""
    one = RuntimeDir(KEY, str(tmp_path))
    first = one.find()
    assert first is not None
    assert one.problem is None
    take(first)
    other = RuntimeDir(KEY, str(tmp_path))
    second = one.find()
    assert second == other.find() == one.find()
    assert second is not None
    assert second != first
    assert stat.S_IMODE(second.stat().st_mode) == 0o700
    assert caplog.text.count(f"{first} must be a folder of this account") == 2  # one each
    assert why in caplog.text
    assert f"Workers meet in {second} instead" in caplog.text
    if first.is_symlink() or first.is_file():
        first.unlink()
    else:
        first.rmdir()
    assert RuntimeDir(KEY, str(tmp_path)).find() == second  # where the others are
    assert one.find() == second
    assert one.problem is None


def test_names_of_folders() -> None:
    """Who has no key knows no name, those of later included."""
    names = {
        folder.name
        for key in (KEY, b"another key")
        for folder in RuntimeDir(key, "/nowhere")._candidates
    }
    assert len(names) == 20


def test_a_folder_that_can_not_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says, once, what does not work then, and what to do."""
    folder = RuntimeDir(KEY, str(tmp_path / "nowhere"))
    assert folder.find() is None
    assert folder.find() is None
    assert caplog.text.count("Logouts and close_sessions() reach only the worker") == 1
    assert "No such file" in caplog.text
    assert "Set BOKEH_SOCKET_DIR" in caplog.text
    (tmp_path / "nowhere").mkdir()
    assert folder.find() is not None
    for candidate in folder._candidates:
        shutil.rmtree(candidate, ignore_errors=True)
        candidate.touch()
    assert folder.find() is None
    assert "all its names are taken" in caplog.text


@pytest.mark.parametrize(("take", "why"), TAKEN)
def test_check_a_folder_that_was_taken(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, take: Callable[[Path], None], why: str
) -> None:
    """The command fails, and says why."""
    app.config["BOKEH_SOCKET_DIR"] = str(tmp_path)
    bokeh.init_app(app)
    take(app.extensions["bokeh"].folder)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM " in result.output
    assert why in result.output


def test_check_a_folder_that_can_not_be(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """The same where there is no folder at all."""
    app.config["BOKEH_SOCKET_DIR"] = str(tmp_path / "nowhere")
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM Logouts and close_sessions() reach only the worker" in result.output


def test_workers_that_start_at_the_same_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is not the first to make the folder finds it, and logs nothing."""
    together = threading.Barrier(8, timeout=20)

    def find(parent: Path) -> Path | None:
        together.wait()
        return RuntimeDir(KEY, str(parent)).find()

    with ThreadPoolExecutor(8) as pool:
        for number in range(100):
            parent = tmp_path / str(number)
            parent.mkdir()
            assert set(pool.map(find, [parent] * 8)) == set(parent.iterdir())
    assert caplog.text == ""


# --- between workers ----------------------------------------------------------------------------


def two_sites(short: Path, fill: Callable[[Document], Any] = lambda doc: None) -> list[Any]:
    """Two "workers" in one process: (Flask application, extension), with the server running."""
    sites = []
    for _ in range(2):
        app, bokeh = Flask("two"), FlaskBokeh()
        app.secret_key = SECRET
        app.config["BOKEH_SOCKET_DIR"] = str(short)
        bokeh.add_application("/x", fill)
        app.config["USER"] = "ann"
        bokeh.user_loader(lambda: current_app.config["USER"])
        bokeh.init_app(app)
        app.extensions["bokeh"].server()
        sites.append((app, bokeh))
    return sites


@pytest.fixture
def two(short: Path) -> Iterator[list[Any]]:
    sites = two_sites(short)
    yield sites
    for app, bokeh in sites:
        with app.app_context():
            bokeh.stop()


def pull(app: Flask, bokeh: FlaskBokeh, **options: Any) -> None:
    with app.test_request_context(), bokeh.pull_session("/x", **options):
        pass


def living(app: Flask) -> int:
    return len(app.extensions["bokeh"].server()._server.get_sessions())


def close(app: Flask, bokeh: FlaskBokeh, user: str = "ann") -> int:
    with app.app_context():
        return bokeh.close_sessions(user=user)


@pytest.mark.parametrize("user", ["ann", "x" * 200_000], ids=["short", "long"])
def test_a_user_of_any_length(two: list[Any], user: str) -> None:
    """Workers tell each other subject_digests, whatever the user is called."""
    (here, ours), (there, theirs) = two
    there.config["USER"] = user
    # The user is in the token, too, which is limited: nobody gets a longer one into a page.
    state = there.extensions["bokeh"]
    subject_digests = state.subject_digests(user)
    pull(there, theirs, user="bob")
    reservation = next(iter(state.server().limits._seats.values()))
    assert reservation.subject in subject_digests or len(user) > 10_000
    reservation.user = user
    assert close(here, ours, user) == 1
    eventually(lambda: living(there) == 0, "the end there")


@pytest.mark.parametrize("take", [shutil.rmtree, open_to_all])
def test_a_folder_that_is_lost_while_workers_run(
    two: list[Any], short: Path, take: Callable[[Path], None]
) -> None:
    """A logout right after it reaches the other worker all the same, and so does the next one."""
    (here, ours), (there, theirs) = two
    (folder,) = short.iterdir()
    for _ in range(2):
        pull(there, theirs)
        assert living(there) == 1
        take(folder)
        close(here, ours)
        eventually(lambda: living(there) == 0, "the end there")
        folder = here.extensions["bokeh"].folder
        eventually(lambda: len(sockets(folder)) == 2, "both to listen again")  # noqa: B023
    pull(there, theirs)
    assert close(here, ours) == 1


def sockets(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_socket()]


def test_workers_without_a_folder(
    app: Flask, bokeh: FlaskBokeh, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A logout ends what is here and says that this may be all; later workers listen again."""
    app.config["BOKEH_SOCKET_DIR"] = str(short / "nowhere")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    pull(app, bokeh)
    assert close(app, bokeh) == 1
    assert "A user's sessions were ended in this worker only. Logouts and" in caplog.text
    (short / "nowhere").mkdir()
    folder = app.extensions["bokeh"].folder
    eventually(lambda: len(sockets(folder)) == 1, "this worker to listen")
    with app.app_context():
        bokeh.stop()
    assert sockets(folder) == []


def test_a_folder_that_goes_just_now(tmp_path: Path) -> None:
    """A logout does not fail over it, and tells."""
    closed, failed = broadcast_close(tmp_path / "gone", None, [], 0.0)
    assert closed == 0
    assert "No such file" in failed[0]


@pytest.mark.parametrize("take", [shutil.rmtree, open_to_all, *([give_away] if ROOT else [])])
def test_a_logout_of_real_workers(live: Live, short: Path, take: Callable[[Path], None]) -> None:
    """Two workers of gunicorn lose their folder: the plots of who logs out end in both."""
    config = {"BOKEH_SOCKET_DIR": str(short), "BOKEH_SECRET_KEY": SECRET}
    site = live("gunicorn-gthread", APP, config=config, args=["--workers", "2"], clean=False)
    ann = Visitor(site).log_in("ann")
    pids: set[int] = set()

    def both_have_one() -> bool:
        opened.append(stack.enter_context(ann.upgrade(ann.token())))
        pids.add(json.loads(ann.get("/stats").text)["pid"])
        (folder,) = short.iterdir()
        return len(pids) == 2 and len(sockets(folder)) == 2 and len(opened) > 8

    opened: list[Upgraded] = []
    with ExitStack() as stack:
        eventually(both_have_one, "plots in both workers")
        (folder,) = short.iterdir()
        take(folder)
        assert ann.get("/logout").text == "out"
        assert [one.close_code() for one in opened] == [1008] * len(opened)


# --- what goes wrong ----------------------------------------------------------------------------


class BrokenError(Exception):
    """What the tests raise."""


def breaks(*_: Any, **__: Any) -> Any:
    raise BrokenError


def test_an_error_here(app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch) -> None:
    """close_sessions raises what kept sessions from their end, and ends the others."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    pull(app, bokeh)
    pull(app, bokeh)
    calls: list[int] = []

    def breaks_once(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BrokenError

    monkeypatch.setattr("flask_bokeh.server.local_closing.disconnect", breaks_once)
    with pytest.raises(SessionsNotEndedError, match="in this process: BrokenError"):
        close(app, bokeh)
    eventually(lambda: living(app) == 0, "the end of both")  # nobody was connected


def test_an_error_later(
    app: Flask,
    bokeh: FlaskBokeh,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes wrong when nobody waits any more is logged."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    with app.test_request_context(), bokeh.pull_session("/x"):
        assert close(app, bokeh) == 1  # waits a second: the document is in use
        monkeypatch.setattr("flask_bokeh.server.local_closing.disconnect", breaks)
        eventually(lambda: "BrokenError" in caplog.text, "the log")
    assert "Sessions that have been ended may live on" in caplog.text


def test_an_error_there(
    two: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another worker that fails says so, and close_sessions raises."""
    (here, ours), (there, theirs) = two
    pull(there, theirs)
    monkeypatch.setattr("flask_bokeh.server.local_closing.disconnect", breaks)
    with pytest.raises(SessionsNotEndedError, match="failed, and its log says why"):
        close(here, ours)
    assert "that another worker has asked to end may live on" in caplog.text


def test_a_worker_that_does_not_answer(two: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of, as it may still show what it should not."""
    monkeypatch.setattr("flask_bokeh.workers.sender.TIMEOUT", 0.3)
    here, ours = two[0]
    folder = here.extensions["bokeh"].folder
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(folder / "frozen-worker"))
        frozen.listen()
        with pytest.raises(SessionsNotEndedError, match="frozen-worker did not say within"):
            close(here, ours)


def test_a_session_that_takes_long_to_fill(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose user is ended meanwhile ends when it is there, however long that takes."""
    go_on, begun = threading.Event(), threading.Event()
    shown: list[Document] = []

    def fill(doc: Document) -> None:
        begun.set()
        go_on.wait(30)
        doc.add_root(Div(text="secret"))
        shown.append(doc)

    monkeypatch.setattr("flask_bokeh.security.limits.WAIT", 0.2)
    app.config.update(BOKEH_STOP_TIMEOUT=0.1)
    bokeh.add_application("/x", fill)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    failures: list[Exception] = []

    def visit() -> None:
        try:
            pull(app, bokeh)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    visitor = threading.Thread(target=visit)
    visitor.start()
    assert begun.wait(20)
    with suppress(TimeoutError):  # Bokeh 3.9 fills documents on the loop
        close(app, bokeh)
    time.sleep(0.5)  # longer than a reservation is kept for a session that does not come
    go_on.set()
    visitor.join(20)
    assert isinstance(failures[0].__cause__, SessionEndedError)
    with suppress(AttributeError):  # a document that has been destroyed has no roots
        assert shown[0].roots == []
    eventually(lambda: living(app) == 0, "the end")


def test_logouts_share_threads(
    app: Flask, bokeh: FlaskBokeh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many logouts run on a few threads, which end with the server."""
    ran_on: list[threading.Thread] = []

    def note(*_: Any) -> None:
        ran_on.append(threading.current_thread())
        raise BrokenError  # one that fails keeps no other from its end

    monkeypatch.setattr(BokehState, "close_sessions", note)
    bokeh.init_app(app)
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.get("/out")
    def out() -> str:
        login_user(User("ann"))
        return str(logout_user())

    client = app.test_client()
    for _ in range(30):
        client.get("/out").close()
    eventually(lambda: len(ran_on) == 30, "all logouts")
    assert len(set(ran_on)) <= 4
    with app.app_context():
        bokeh.stop()
    eventually(lambda: not any(thread.is_alive() for thread in ran_on), "the threads to end")
    client.get("/out").close()
    eventually(lambda: len(ran_on) == 31, "a logout after that")
    with app.app_context():
        bokeh.stop()


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name
