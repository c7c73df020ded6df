"""The built wheel, the sdist, an editable install, and the metadata of the project."""

from __future__ import annotations

import os
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
from flask_bokeh.web.rendering import template_folder

from .support import ROOT
from .test_layers import imports, modules

TEMPLATES = {path.name for path in (ROOT / "templates" / "flask_bokeh").iterdir()}
MODULES = {path.name for path in (ROOT / "js" / "src").iterdir()}
PAGE = """
from flask import Flask, render_template_string
from flask_bokeh import FlaskBokeh
import flask_bokeh
app = Flask("x"); app.secret_key = "x" * 20
bokeh = FlaskBokeh(app); bokeh.add_application("/x", lambda doc: None)
with app.test_request_context():
    html = render_template_string("{% bokeh '/x' %}")
assert "flask-bokeh" in html
assert "embed_items" in app.test_client().get("/bokeh/static/flask_bokeh.js").text
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


@pytest.mark.live
def test_wheel_is_complete_and_its_page_works(built: Path, tmp_path: Path) -> None:
    """The wheel has the package, its templates, the browser's code and py.typed."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    for name in TEMPLATES:
        assert f"flask_bokeh/templates/flask_bokeh/{name}" in names
    assert {f"flask_bokeh/js/{name}" for name in MODULES} == {
        name for name in names if name.startswith("flask_bokeh/js/")
    }
    assert "flask_bokeh/py.typed" in names
    assert not any(name.startswith(("tests", "example_app", "templates", "js")) for name in names)
    assert run_page(tmp_path, tmp_path / "installed").startswith(str(tmp_path / "installed"))


@pytest.mark.live
def test_page_works_from_an_unpacked_sdist(built: Path, tmp_path: Path) -> None:
    """Templates and JavaScript modules are beside the package there."""
    (source,) = (path for path in built.iterdir() if path.is_dir())
    assert run_page(tmp_path, source).startswith(str(source))
    assert (source / "LICENSE").exists()
    assert not (source / "js" / "node_modules").exists()


def test_editable_install_finds_the_templates() -> None:
    assert {path.name for path in Path(template_folder(), "flask_bokeh").iterdir()} == TEMPLATES


def test_version_is_the_same_everywhere() -> None:
    """pyproject.toml, the package and the changelog agree."""
    number = project()["project"]["version"]
    assert flask_bokeh.__version__ == version("flask-bokeh") == number
    assert f"## [{number}]" in (ROOT / "CHANGELOG.md").read_text()


def test_lower_bounds_are_the_tested_ones() -> None:
    """Dependencies have lower bounds; tests/lowest.txt pins those, and some of the extras.

    Only Bokeh has an upper bound: its next major version.
    """
    bounds = {}
    for line in project()["project"]["dependencies"]:
        match = re.fullmatch(r"([a-z0-9]+)>=([0-9.]+)(,<4)?", line)
        assert match, line
        assert bool(match[3]) == (match[1] == "bokeh")
        bounds[match[1]] = match[2]
    pins = dict(
        line.split("==")
        for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines()
        if "==" in line
    )

    def same(one: str, other: str) -> bool:
        return (one + ".0.0").split(".")[:3] == (other + ".0.0").split(".")[:3]

    extras = project()["project"]["optional-dependencies"]
    more = [*extras["example"], *extras["test"]]
    bounds |= dict(line.split(">=") for line in more if line.split(">=")[0] in pins)
    assert bounds.keys() == pins.keys()
    for name, bound in bounds.items():
        assert same(bound, pins[name]), name


def test_dependencies_are_the_imported_packages() -> None:
    imported = {
        name.split(".")[0] for module in modules() for name in imports(module) if name
    } - set(sys.stdlib_module_names)
    found_at_run_time = {"flask_login"}
    assert found_at_run_time < imported
    assert imported - found_at_run_time - {"flask_bokeh"} == {
        re.split(r"[><=]", line)[0] for line in project()["project"]["dependencies"]
    }


# The oldest versions without a published vulnerability as of November 2026.
SAFE = {
    "flask": (3, 1, 3),  # CVE-2026-27205
    "jinja2": (3, 1, 6),  # CVE-2025-27516
    "tornado": (6, 6, 1),  # CVE-2026-91990, CVE-2026-82397, and the fixes in 6.6.1
    "werkzeug": (3, 1, 6),  # CVE-2026-27199
    "gunicorn": (23, 0, 0),  # CVE-2024-6827
}


def test_lower_bounds_exclude_known_vulnerabilities() -> None:
    listed = project()["project"]
    lines = [*listed["dependencies"], *listed["optional-dependencies"]["example"]]
    bounds = {
        name: tuple(map(int, bound.split(",")[0].split(".")))
        for name, _, bound in (line.partition(">=") for line in lines)
    }
    for name, safe in SAFE.items():
        assert bounds[name] >= safe[: len(bounds[name])], name


@pytest.mark.live
@pytest.mark.parametrize("found", ["4.0.0", "4.0.0.dev8", "2.4.3", "3.8.2"])
def test_unknown_version_of_bokeh_is_refused_on_import(tmp_path: Path, found: str) -> None:
    """The error names the installed version and the versions to install."""
    (tmp_path / "bokeh").mkdir()
    (tmp_path / "bokeh" / "__init__.py").write_text(f"__version__ = {found!r}\n")
    done = subprocess.run(
        [sys.executable, "-c", "import flask_bokeh"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: flask_bokeh works with Bokeh 3, from 3.9 on, and found ")
    assert f"found Bokeh {found}. " in last
    assert last.endswith("pip install 'bokeh>=3.9,<4'")


def test_public_names_are_sorted_and_documented() -> None:
    assert list(flask_bokeh.__all__) == sorted(flask_bokeh.__all__)
    for name in flask_bokeh.__all__:
        assert getattr(flask_bokeh, name).__doc__, name
