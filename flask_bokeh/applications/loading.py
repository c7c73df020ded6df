"""Load registered applications from functions, scripts, directories and notebooks."""

from __future__ import annotations

from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.command.util import build_single_handler_application

from ..errors import ApplicationLoadError
from .registry import Registration

__all__ = ("load",)


def load(registration: Registration, root: Path) -> Application:
    """Make the Bokeh application.

    :param root: the folder that relative file names start from (``app.root_path``).
    :raises ApplicationLoadError: saying what is wrong with the file.
    """
    source = registration.source
    if isinstance(source, Application):
        return source
    if not isinstance(source, str | Path):
        return Application(FunctionHandler(source))
    file = _find(registration.path, source, root)
    try:
        return build_single_handler_application(str(file))
    except (Exception, SystemExit) as error:  # app_hooks.py runs when it is loaded
        reason = str(error).strip() or type(error).__name__
        raise ApplicationLoadError(registration.path, reason) from error


def _find(path: str, source: str | Path, root: Path) -> Path:
    """The file or directory of an application.

    :raises ApplicationLoadError: if there is none.
    """
    file = root / Path(source).expanduser()
    if not file.exists():
        raise ApplicationLoadError(path, f"{file} does not exist.")
    if file.is_dir() and not any((file / name).exists() for name in ("main.py", "main.ipynb")):
        raise ApplicationLoadError(path, f"the directory {file} has no main.py or main.ipynb.")
    return file
