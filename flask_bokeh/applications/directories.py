"""Directory applications: what works under ``bokeh serve``, and can't work inside a site.

:func:`check_directory` and :func:`check_requests` say so when the application is loaded; without
them it would be given another module than its own, or never be asked, without a word.
"""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers.handler import Handler
from bokeh.application.handlers.request_handler import RequestHandler

from ..errors import ApplicationLoadError, ScriptError

__all__ = ("check_directory", "check_package", "check_requests")

logger = logging.getLogger("flask_bokeh")


def check_directory(path: str, directory: Path, others: dict[str, Path]) -> None:
    """Look for modules of a directory whose names are taken by the site or by other directories.

    While ``main.py`` runs, Bokeh puts its directory in front of ``sys.path``; but Python looks
    into ``sys.modules`` first, and what it finds on the path is everybody's from then on.

    :param others: the modules of the directories before this one, by name; this one's are added.
    :raises ApplicationLoadError: if an application would get a module that is not its own.
    """
    for name, own in _imported(directory):
        cure = (
            f"Give the directory an __init__.py and write 'from . import {name}' there, "
            "or rename the file."
        )
        first = others.setdefault(name, own)
        other = str(first)
        if name in sys.modules:
            other = getattr(sys.modules[name], "__file__", None) or "a built-in one"
        if not _same(own, other):
            raise ApplicationLoadError(
                path,
                f"'import {name}' means its {own}, but Python gives it another module of that "
                f"name, {other}. {cure}",
            )
        spec = None
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
        if name not in sys.modules and spec is not None and not _same(own, spec.origin):
            logger.warning(
                "The application %s imports %s as %r, and the site has a module of that name, %s: "
                "whoever imports it first decides which both get. %s",
                path,
                own,
                name,
                spec.origin,
                cure,
            )


def check_requests(path: str, application: Application) -> None:
    """Refuse ``process_request``, which Bokeh's server would call for each page.

    Bokeh keeps the function in private attributes. Checked on Bokeh 3.9.2 and 3.10.2;
    ``tests/test_directories.py`` fails when one of them moves.

    :raises ApplicationLoadError: if the application has one.
    """
    for handler in application.handlers:
        inner = getattr(handler, "_request_handler", handler)
        function = getattr(inner, "_process_request", None)
        if isinstance(inner, RequestHandler) and function is not RequestHandler()._process_request:
            raise ApplicationLoadError(
                path,
                "it has a process_request(request), as in app_hooks.py, which is never called "
                "here. Remove it: the visit says what it would have read from the request "
                "(visit.user from the user_loader; visit.arguments and visit.data from the page).",
            )


def check_package(handler: Handler) -> None:
    """Bokeh runs a directory's ``__init__.py`` when the server has loaded, and tells no error.

    It keeps it in a private attribute, as above.

    :raises ScriptError: if it has failed.
    """
    runner = getattr(handler, "_package_runner", None)
    if runner is not None and runner.failed:
        raise ScriptError(str(runner.error), str(runner.error_detail))


def _imported(directory: Path) -> Iterator[tuple[str, Path]]:
    """Modules of a directory that its own files import as if they were on the path."""
    names: set[str] = set()
    for file in directory.glob("*.py"):
        with suppress(SyntaxError, ValueError, OSError):  # told when it runs
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names.add(node.module.partition(".")[0])
    for name in sorted(names - sys.stdlib_module_names):
        for own in (directory / name / "__init__.py", directory / f"{name}.py"):
            if own.is_file():
                yield name, own
                break


def _same(own: Path, other: str | None) -> bool:
    """Whether a module is the own one, or a copy of its file."""
    with suppress(OSError):
        return other is not None and own.read_bytes() == Path(other).read_bytes()
    return False
