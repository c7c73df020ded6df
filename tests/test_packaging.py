"""What gets shipped: the built wheel, the sdist, an editable install."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import flask_bokeh
from flask_bokeh.templating import template_folder

from .conftest import ROOT

TEMPLATES = {path.name for path in (ROOT / "templates" / "flask_bokeh").iterdir()}
PAGE = """
from flask import Flask, render_template_string
from flask_bokeh import FlaskBokeh
import flask_bokeh
app = Flask("x"); app.secret_key = "x" * 20
bokeh = FlaskBokeh(app); bokeh.add_application("/x", lambda doc: None)
with app.test_request_context():
    html = render_template_string("{% bokeh '/x' %}")
assert "flask-bokeh" in html
print(flask_bokeh.__file__)
"""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, built as for a release; the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*hatch, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    subprocess.run(
        [*hatch, "-t", "wheel"], cwd=source, check=True, capture_output=True, timeout=120
    )
    return folder


def run_page(cwd: Path, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{PAGE}"],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_the_wheel(built: Path, tmp_path: Path) -> None:
    """The wheel has the package, its templates and py.typed, and a page works from it alone."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    for name in TEMPLATES:
        assert f"flask_bokeh/templates/flask_bokeh/{name}" in names
    assert "flask_bokeh/py.typed" in names
    assert not any(name.startswith(("tests", "example_app", "templates")) for name in names)
    assert run_page(tmp_path, tmp_path / "installed").startswith(str(tmp_path / "installed"))


def test_the_sdist(built: Path, tmp_path: Path) -> None:
    """A page works from an unpacked sdist, where the templates are beside the package."""
    (source,) = (path for path in built.iterdir() if path.is_dir())
    assert run_page(tmp_path, source).startswith(str(source))
    assert (source / "LICENSE").exists()


def test_the_editable_install() -> None:
    """In a checkout the templates are found where they are."""
    assert {path.name for path in Path(template_folder(), "flask_bokeh").iterdir()} == TEMPLATES


def test_one_version() -> None:
    """pyproject, the package and the changelog agree."""
    number = project()["project"]["version"]
    assert flask_bokeh.__version__ == version("flask-bokeh") == number
    assert f"## [{number}]" in (ROOT / "CHANGELOG.md").read_text()


def test_lower_bounds_are_the_tested_ones() -> None:
    """Dependencies have lower bounds only, and tests/lowest.txt pins exactly those."""
    bounds = {}
    for line in project()["project"]["dependencies"]:
        match = re.fullmatch(r"([a-z0-9]+)>=([0-9.]+)", line)
        assert match, line
        bounds[match[1]] = match[2]
    pins = dict(
        line.split("==")
        for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines()
        if "==" in line
    )

    def same(one: str, other: str) -> bool:
        return (one + ".0.0").split(".")[:3] == (other + ".0.0").split(".")[:3]

    for name, bound in bounds.items():
        assert same(bound, pins[name]), name


def test_everything_public_is_exported() -> None:
    """__all__ holds what there is, sorted."""
    assert list(flask_bokeh.__all__) == sorted(flask_bokeh.__all__)
    for name in flask_bokeh.__all__:
        assert getattr(flask_bokeh, name).__doc__, name
