"""Checks of directory applications for what works under ``bokeh serve`` only.

Without these checks, an application could get a module of another application under the name of its
own, or have a ``process_request`` that is never called, without an error.
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

__all__ = ("DirectoryModules", "check_package", "check_requests")

logger = logging.getLogger("flask_bokeh")


class DirectoryModules:
    """The modules that directory applications import by their plain names.

    Bokeh puts a directory first on ``sys.path`` while its ``main.py`` runs. But Python looks into
    ``sys.modules`` first, and a module stays there for all later imports of its name.
    """

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def check(self, path: str, directory: Path) -> None:
        """Compare the modules of a directory with those of the site and of other directories.

        A module whose name is also that of a module that the site has not imported is logged.

        :raises ApplicationLoadError: if an import would get a module of the site or of another
            directory.
        """
        for name, file in _imported_modules(directory):
            advice = (
                f"Give the directory an __init__.py and write 'from . import {name}' there, "
                "or rename the file."
            )
            other = str(self._files.setdefault(name, file))
            if name in sys.modules:
                other = getattr(sys.modules[name], "__file__", None) or "a built-in one"
            if not _has_same_content(file, other):
                raise ApplicationLoadError(
                    path,
                    f"'import {name}' means its {file}, but Python gives it another module of that "
                    f"name, {other}. {advice}",
                )
            spec = None
            with suppress(ImportError, ValueError):
                spec = find_spec(name)
            if (
                name not in sys.modules
                and spec is not None
                and not _has_same_content(file, spec.origin)
            ):
                logger.warning(
                    "The application %s imports %s as %r, and the site has a module of that name, "
                    "%s: the first import decides which of them both get. %s",
                    path,
                    file,
                    name,
                    spec.origin,
                    advice,
                )


def check_requests(path: str, application: Application) -> None:
    """Refuse a ``process_request`` function, which Bokeh's server calls for each page.

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
                "here. Remove it, and use the visit instead (visit.user from the user_loader; "
                "visit.arguments and visit.data from the page).",
            )


def check_package(handler: Handler) -> None:
    """Raise the error of a directory's ``__init__.py``, which Bokeh does not report.

    Bokeh runs the file when the server has loaded, and keeps it in a private attribute.

    :raises ScriptError: if it has failed.
    """
    runner = getattr(handler, "_package_runner", None)
    if runner is not None and runner.failed:
        raise ScriptError(str(runner.error), str(runner.error_detail))


def _imported_modules(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules of a directory that its own files import by their plain names."""
    names: set[str] = set()
    for file in directory.glob("*.py"):
        with suppress(SyntaxError, ValueError, OSError):  # raised again when the file runs
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names.add(node.module.partition(".")[0])
    for name in sorted(names - sys.stdlib_module_names):
        for module in (directory / name / "__init__.py", directory / f"{name}.py"):
            if module.is_file():
                yield name, module
                break


def _has_same_content(file: Path, other: str | None) -> bool:
    """Return whether a module is that of a file, or of a copy."""
    with suppress(OSError):
        return other is not None and file.read_bytes() == Path(other).read_bytes()
    return False
