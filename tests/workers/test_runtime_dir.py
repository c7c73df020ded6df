"""The runtime folder that workers share."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh
from flask_bokeh.workers.runtime_dir import RuntimeDir

from ..support.workers import give_away, open_to_all

KEY = b"a key for the tests only"


ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


as_root = pytest.mark.skipif(not ROOT, reason="only root can give a folder away")


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
    (make_a_file, "is not a directory"),
]


@pytest.mark.parametrize(("take", "why"), TAKEN)
def test_workers_avoid_a_folder_that_was_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, take: Callable[[Path], None], why: str
) -> None:
    """All workers use the next secret name if a folder was taken, and each logs this once."""
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
    assert caplog.text.count(f"{first} must be a directory of this account") == 2  # one each
    assert why in caplog.text
    assert f"Workers meet in {second} instead" in caplog.text
    if first.is_symlink() or first.is_file():
        first.unlink()
    else:
        first.rmdir()
    assert RuntimeDir(KEY, str(tmp_path)).find() == second  # the folder of the other workers
    assert one.find() == second
    assert one.problem is None


def test_folder_names_depend_on_the_key() -> None:
    """The names of the folder and of its fallbacks depend on the key."""
    names = {
        folder.name
        for key in (KEY, b"another key")
        for folder in RuntimeDir(key, "/nowhere")._candidates
    }
    assert len(names) == 20


def test_folder_that_cannot_be_created_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be created is logged once, with the consequences and the remedy."""
    folder = RuntimeDir(KEY, str(tmp_path / "nowhere"))
    assert folder.find() is None
    assert folder.find() is None
    assert caplog.text.count("Logouts and close_sessions() reach only the worker") == 1
    assert "No such file" in caplog.text
    assert "Set BOKEH_RUNTIME_DIR" in caplog.text
    (tmp_path / "nowhere").mkdir()
    assert folder.find() is not None
    for candidate in folder._candidates:
        shutil.rmtree(candidate, ignore_errors=True)
        candidate.touch()
    assert folder.find() is None
    assert "all its names are taken" in caplog.text


@pytest.mark.parametrize(("take", "why"), TAKEN)
def test_check_fails_for_a_folder_that_was_taken(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, take: Callable[[Path], None], why: str
) -> None:
    """``flask bokeh check`` fails and says why if the folder was taken."""
    app.config["BOKEH_RUNTIME_DIR"] = str(tmp_path)
    bokeh.init_app(app)
    take(app.extensions["bokeh"].find_runtime_dir())
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM " in result.output
    assert why in result.output


def test_check_fails_if_the_folder_cannot_be_created(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path
) -> None:
    """``flask bokeh check`` fails if the folder cannot be created."""
    app.config["BOKEH_RUNTIME_DIR"] = str(tmp_path / "nowhere")
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM Logouts and close_sessions() reach only the worker" in result.output


def test_concurrent_workers_find_the_same_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers that start concurrently find the same folder and log nothing."""
    together = threading.Barrier(8, timeout=60)

    def find(parent: Path) -> Path | None:
        together.wait()
        return RuntimeDir(KEY, str(parent)).find()

    with ThreadPoolExecutor(8) as pool:
        for number in range(100):
            parent = tmp_path / str(number)
            parent.mkdir()
            assert set(pool.map(find, [parent] * 8)) == set(parent.iterdir())
    assert caplog.text == ""
