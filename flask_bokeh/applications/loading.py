"""Loading of applications from functions, scripts, directories and notebooks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.command.util import build_single_handler_application

from ..errors import ApplicationLoadError
from .directory_checks import DirectoryModules, check_requests
from .registry import Registration

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("load", "load_or_fail_later")

logger = logging.getLogger("flask_bokeh")


def load_or_fail_later(
    registration: Registration, root: Path, modules: DirectoryModules
) -> Application:
    """Load an application. One that can't be loaded is replaced by one that always fails.

    So the other applications work, and visitors of this one see the error box.

    :param root: the directory that file names are relative to.
    :param modules: the modules of the directories loaded so far; those of this one are added.
    """
    path, source = registration.path, registration.source
    try:
        if isinstance(source, str | Path):
            modules.check(path, _absolute(source, root))
        application = load(registration, root)
        check_requests(path, application)
    except ApplicationLoadError as error:
        logger.error("%s", error)
        reason, cause = error.reason, error.__cause__
    else:
        return application

    def fail(doc: Document) -> None:
        raise ApplicationLoadError(path, reason) from cause

    return Application(FunctionHandler(fail))


def load(registration: Registration, root: Path) -> Application:
    """Return the Bokeh application of a registration.

    :param root: the directory that file names are relative to (``app.root_path``).
    :raises ApplicationLoadError: if its file is missing or can't be loaded.
    """
    source = registration.source
    if isinstance(source, Application):
        return source
    if not isinstance(source, str | Path):
        return Application(FunctionHandler(source))
    file = _absolute(source, root)
    _check_exists(registration.path, file)
    try:
        return build_single_handler_application(str(file))
    except (Exception, SystemExit) as error:  # app_hooks.py runs when it is loaded
        reason = str(error).strip() or type(error).__name__
        raise ApplicationLoadError(registration.path, reason) from error


def _absolute(source: str | Path, root: Path) -> Path:
    return root / Path(source).expanduser()


def _check_exists(path: str, file: Path) -> None:
    """:raises ApplicationLoadError: if the file or directory of an application is missing."""
    if not file.exists():
        raise ApplicationLoadError(path, f"{file} does not exist.")
    if file.is_dir() and not any((file / name).exists() for name in ("main.py", "main.ipynb")):
        raise ApplicationLoadError(path, f"the directory {file} has no main.py or main.ipynb.")
