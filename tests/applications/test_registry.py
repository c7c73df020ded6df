"""Registrations that are accepted and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from flask import Flask

from flask_bokeh import (
    ApplicationLoadError,
    FlaskBokeh,
    NotInitializedError,
    RegistrationError,
    UnknownApplicationError,
)
from flask_bokeh.applications.loading import load
from flask_bokeh.applications.registry import Registration, Registry


def fill(doc: Document) -> None:
    doc.title = "filled"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x", "starts with a slash"),
        ("", "starts with a slash"),
        (None, "starts with a slash"),
        ("/x/", "may not"),
        ("//x", "may not"),
        ("/a b", "letters, digits"),
        ("/a/../b", "letters, digits"),
        ("/<script>", "letters, digits"),
        ("/a/ws", "Bokeh answers there itself"),
        ("/static/x", "Bokeh answers there itself"),
    ],
)
def test_bad_paths_are_refused(path: Any, message: str) -> None:
    """An unsuitable path is refused when it is registered."""
    with pytest.raises(RegistrationError, match=message):
        Registry().add(path, fill)


@pytest.mark.parametrize("path", ["/", "/x", "/team/sales-2024", "/a.b_c~d"])
def test_good_paths_are_accepted(path: str) -> None:
    """Ordinary paths, nested paths and the root are accepted."""
    registry = Registry()
    registry.add(path, fill)
    assert registry.get(path).path == path


def test_path_that_is_registered_already_is_refused() -> None:
    registry = Registry()
    registry.add("/x", fill)
    with pytest.raises(RegistrationError, match="already registered at '/x'"):
        registry.add("/x", lambda doc: None)
    with pytest.raises(RegistrationError, match="already registered at '/x'"):
        registry.add("/x", fill, page=True)


@pytest.mark.parametrize(("source", "message"), [(5, "expected a function"), (lambda: 1, "doc")])
def test_bad_sources_are_refused(source: Any, message: str) -> None:
    """A source that can't fill a document is refused when it is registered."""
    with pytest.raises(RegistrationError, match=message):
        Registry().add("/x", source)


def test_async_functions_are_refused(bokeh: FlaskBokeh) -> None:
    """Bokeh would not await them, and the plot would stay empty without an error."""

    async def not_awaited(doc: Document, visit: object = None) -> None: ...

    with pytest.raises(RegistrationError, match="'/x' is an async function"):
        bokeh.add_application("/x", not_awaited)
    with pytest.raises(RegistrationError, match=r"not_awaited is an async function"):
        bokeh.customize("/x")(not_awaited)


def test_late_registrations_are_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    """A hook, guard or application without effect is refused."""
    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    with app.test_request_context():
        bokeh.server_document("/x")
        with pytest.raises(RegistrationError, match=r"too late: customize\('/x'\)"):
            bokeh.customize("/x")(lambda doc, visit: None)
        with pytest.raises(RegistrationError, match=r"too late: guard\(\)"):
            bokeh.guard()(lambda: True)
        with pytest.raises(RegistrationError, match=r"too late: the application '/y'"):
            bokeh.add_application("/y", fill)


def test_decorators_without_parentheses_are_refused(bokeh: FlaskBokeh) -> None:
    """They would register nothing, so a guard would protect nothing."""
    decorators: list[Any] = [bokeh.guard, bokeh.customize, bokeh.application, bokeh.with_session]
    for decorator in decorators:
        with pytest.raises(RegistrationError, match="Write the decorator with parentheses"):
            decorator(lambda: False)


@pytest.mark.parametrize(
    ("register", "function", "form"),
    [
        ("customize", lambda doc: None, r"f\(doc, visit\)"),
        ("customize", lambda: None, r"f\(doc, visit\)"),
        ("customize", "greet", r"f\(doc, visit\)"),
        ("guard", lambda visit, more: True, r"f\(\) or f\(visit\)"),
    ],
)
def test_functions_with_wrong_parameters_are_refused(
    bokeh: FlaskBokeh, register: str, function: Any, form: str
) -> None:
    """A hook or guard with unsuitable parameters is refused when it is registered."""
    with pytest.raises(RegistrationError, match=rf"^{register} takes a function {form}, not "):
        getattr(bokeh, register)("/x")(function)


@pytest.mark.parametrize("kind", ["customize", "guard"])
def test_function_without_an_application_is_refused(
    app: Flask, bokeh: FlaskBokeh, kind: str
) -> None:
    """Each page raises an error for a hook or guard of a path without an application."""
    bokeh.add_application("/x", fill)
    getattr(bokeh, kind)("/y")(lambda *_: True)
    bokeh.init_app(app)
    with app.test_request_context():
        with pytest.raises(RegistrationError, match=rf"{kind}\('/y'\) has no application"):
            bokeh.server_document("/x")
        with pytest.raises(RegistrationError, match="has no application"):
            bokeh.server_document("/x")


def test_error_for_an_unknown_path_lists_the_known_paths() -> None:
    registry = Registry()
    registry.add("/b", fill)
    registry.add("/a", fill)
    with pytest.raises(UnknownApplicationError, match=r"'/c'. Registered: /a, /b."):
        registry.get("/c")


def test_functions_become_applications(tmp_path: Path) -> None:
    """An application is used unchanged."""
    document = load(Registration("/x", fill, page=False), tmp_path).create_document()
    assert document.title == "filled"
    application = Application(FunctionHandler(fill))
    assert load(Registration("/x", application, page=False), tmp_path) is application


@pytest.mark.parametrize("name", ["script.py", "folder", "book.ipynb"])
def test_files_are_found_in_the_root_folder_of_the_site(tmp_path: Path, name: str) -> None:
    """Scripts, directories and notebooks are found from the root of the Flask application."""
    if name.endswith(".ipynb"):
        pytest.importorskip("nbconvert")
    code = "from bokeh.io import curdoc\ncurdoc().title = 'from a file'\n"
    (tmp_path / "script.py").write_text(code)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "main.py").write_text(code)
    cell = {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "id": "a"}
    cell["execution_count"] = None  # type: ignore[assignment]
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "book.ipynb").write_text(json.dumps(notebook))
    application = load(Registration("/x", name, page=False), tmp_path)
    assert application.create_document().title == "from a file"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.py", None, "does not exist"),
        ("empty", "", "no main.py or main.ipynb"),
        ("wrong.txt", "hello", "Expected a '.py' script"),
        ("broken.py", "def (", "invalid syntax"),
    ],
)
def test_file_that_can_not_be_loaded_is_named_in_the_error(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    """The error names the application and the problem with its file."""
    if name == "empty":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ApplicationLoadError, match=message) as caught:
        load(Registration("/x", name, page=False), tmp_path)
    assert caught.value.path == "/x"


def test_applications_are_registered_from_the_config(app: Flask, bokeh: FlaskBokeh) -> None:
    """BOKEH_APPLICATIONS registers more; a path that is registered twice is refused."""
    app.config["BOKEH_APPLICATIONS"] = {"/more": fill}
    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    assert {item.path for item in app.extensions["bokeh"].registrations.applications} == {
        "/x",
        "/more",
    }
    other = Flask("other")
    other.config["BOKEH_APPLICATIONS"] = {"/x": "other.py"}
    with pytest.raises(RegistrationError, match="already registered at '/x'"):
        bokeh.init_app(other)


def test_server_does_not_start_with_a_hook_without_an_application(
    app: Flask, bokeh: FlaskBokeh
) -> None:
    bokeh.add_application("/x", fill)
    bokeh.customize("/y")(lambda doc, visit: None)
    bokeh.init_app(app)
    with app.app_context(), pytest.raises(RegistrationError, match=r"'/y'.*Registered: /x"):
        bokeh.start()


def test_registration_after_the_start_is_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    """Each page raises the error, also pages of other applications."""
    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    with app.app_context():
        bokeh.start()
    bokeh.add_application("/late", fill)
    for path in ("/x", "/late"):
        with (
            app.test_request_context(),
            pytest.raises(RegistrationError, match="too late: the application '/late'"),
        ):
            bokeh.server_document(path)


def test_second_init_app_is_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    bokeh.init_app(app)
    with pytest.raises(RuntimeError, match="has flask_bokeh already"):
        FlaskBokeh(app)


def test_missing_init_app_is_explained(app: Flask, bokeh: FlaskBokeh) -> None:
    """The error asks whether init_app was forgotten."""
    bokeh.add_application("/x", fill)
    with app.test_request_context(), pytest.raises(NotInitializedError, match="forget"):
        bokeh.server_document("/x")
