"""Directory applications with ambiguous modules or with process_request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bokeh.application import Application
from bokeh.application.handlers.request_handler import RequestHandler
from flask import Flask

from flask_bokeh import ApplicationFailedError, FlaskBokeh
from flask_bokeh.applications.directory_checks import check_requests

from ..support import ROOT

SITE = """
import {imports}
from flask import Flask
from flask_bokeh import FlaskBokeh

app = Flask(__name__)
app.secret_key = "a secret key for the tests only"
bokeh = FlaskBokeh(app)
for name in ("one", "two"):
    bokeh.add_application("/" + name, name)
"""
MAIN = "import bokeh.io\n{imports}\nbokeh.io.curdoc().title = names.NAME\n"
SHOW = """
from web import app, bokeh
with app.test_request_context():
    for name in ("/one", "/two"):
        try:
            with bokeh.pull_session(name) as session:
                print(name, session.document.title)
        except Exception as error:
            print(name, error)
"""


def show(folder: Path, imports: str, files: dict[str, str]) -> str:
    """Return the output of a site with two directories, in a process of its own."""
    for name, text in {"web.py": SITE.format(imports=imports), **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


ABSOLUTE = MAIN.format(imports="import names")
RELATIVE = MAIN.format(imports="from . import names")


@pytest.mark.live
def test_directory_that_would_import_a_site_module_is_refused(tmp_path: Path) -> None:
    """The error explains how to make the directory a package, which works."""
    files = {"names.py": "NAME = 'site'", "one/names.py": "NAME = 'one'", "one/main.py": ABSOLUTE}
    files |= {"two/names.py": "NAME = 'two'", "two/main.py": RELATIVE, "two/__init__.py": ""}
    said = show(tmp_path, "names", files)
    assert f"'import names' means its {tmp_path}/one/names.py, but Python gives it" in said
    assert f"{tmp_path}/names.py. Give the directory an __init__.py and write 'from . imp" in said
    assert "/one site" not in said
    assert "/two two" in said  # with the advice followed


@pytest.mark.live
def test_second_directory_with_an_equal_module_is_refused(tmp_path: Path) -> None:
    """Two directories have a module of the same name; the second one is refused."""
    files = {f"{name}/names.py": f"NAME = '{name}'" for name in ("one", "two")}
    files |= {f"{name}/main.py": ABSOLUTE for name in ("one", "two")}
    said = show(tmp_path, "os", files)
    assert f"means its {tmp_path}/two/names.py, but Python gives it another module" in said
    assert f"of that name, {tmp_path}/one/names.py. Give the directory" in said
    assert "/one one" in said
    assert "/two one" not in said


@pytest.mark.live
def test_module_that_the_site_may_import_later_is_warned_of(tmp_path: Path) -> None:
    """A warning says that the first import of the ambiguous name wins."""
    files = {"names.py": "NAME = 'site'", "one/names.py": "NAME = 'one'", "one/main.py": ABSOLUTE}
    files |= {"two/main.py": ""}
    said = show(tmp_path, "os", files)
    assert f"imports {tmp_path}/one/names.py as 'names', and the site has a module of" in said
    assert "/one one" in said


@pytest.mark.live
def test_unambiguous_modules_are_accepted(tmp_path: Path) -> None:
    """Unambiguous modules, copies of others and the standard library raise no error."""
    main = MAIN.format(imports="import copied, names, types")
    files = {f"one/{name}.py": "NAME = 'one'" for name in ("names", "copied", "types")}
    files |= {"copied.py": "NAME = 'one'", "one/main.py": main, "two/main.py": ""}
    said = show(tmp_path, "copied", files)
    assert "/one one" in said
    assert "names.py" not in said
    assert "copied.py" not in said


@pytest.mark.parametrize("hooks", ["app_hooks.py", "a handler"])
def test_process_request_is_refused(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, hooks: str
) -> None:
    """The error names the function and recommends visit.user."""
    (tmp_path / "main.py").write_text("")
    (tmp_path / "app_hooks.py").write_text("def process_request(request):\n    return {}\n")
    handler = RequestHandler()
    handler._process_request = lambda request: {}
    bokeh.add_application("/x", tmp_path if "." in hooks else Application(handler))
    bokeh.init_app(app)
    with (
        app.test_request_context(),
        pytest.raises(ApplicationFailedError, match=r"process_request.*never called.*visit\.user"),
        bokeh.pull_session("/x"),
    ):
        pass


def test_other_hooks_are_accepted(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """Other life-cycle hooks, and a request handler without a function, are accepted."""
    (tmp_path / "main.py").write_text("")
    (tmp_path / "app_hooks.py").write_text("def on_server_loaded(server_context):\n    pass\n")
    bokeh.add_application("/x", tmp_path)
    bokeh.init_app(app)
    with app.test_request_context(), bokeh.pull_session("/x"):
        pass
    check_requests("/y", Application(RequestHandler()))


@pytest.mark.parametrize("code", ["import no_such_library", "def ("])
def test_broken_package_fails_only_its_application(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, code: str
) -> None:
    """An error in the __init__.py of a directory does not affect other applications."""
    (tmp_path / "main.py").write_text("")
    (tmp_path / "__init__.py").write_text(code)
    bokeh.add_application("/x", tmp_path)
    bokeh.add_application("/good", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        with pytest.raises(ApplicationFailedError, match="/x"), bokeh.pull_session("/x"):
            pass
        with bokeh.pull_session("/good"):
            pass
