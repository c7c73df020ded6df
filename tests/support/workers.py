"""Two workers in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bokeh.document import Document
from flask import Flask, current_app

from flask_bokeh import FlaskBokeh

SECRET = "a secret key of two workers"


def give_away(folder: Path) -> None:
    os.chown(folder, 65534, 65534)


def open_to_all(folder: Path) -> None:
    folder.chmod(0o755)


def two_sites(short: Path, fill: Callable[[Document], Any] = lambda doc: None) -> list[Any]:
    """Two "workers" in one process: (Flask application, extension), with the server running."""
    sites = []
    for _ in range(2):
        app, bokeh = Flask("two"), FlaskBokeh()
        app.secret_key = SECRET
        app.config["BOKEH_RUNTIME_DIR"] = str(short)
        bokeh.add_application("/x", fill)
        app.config["USER"] = "ann"
        bokeh.user_loader(lambda: current_app.config["USER"])
        bokeh.init_app(app)
        app.extensions["bokeh"].servers.get()
        sites.append((app, bokeh))
    return sites


def pull(app: Flask, bokeh: FlaskBokeh, **options: Any) -> None:
    with app.test_request_context(), bokeh.pull_session("/x", **options):
        pass


def living(app: Flask) -> int:
    return len(app.extensions["bokeh"].servers.get().bokeh.get_sessions())


def close(app: Flask, bokeh: FlaskBokeh, user: str = "ann") -> int:
    with app.app_context():
        return bokeh.close_sessions(user=user)
