"""A site that writes the life-cycle events of its applications into ``LIFECYCLE_LOG``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bokeh.models import Slider
from flask import Flask, render_template_string

from flask_bokeh import FlaskBokeh

if TYPE_CHECKING:
    from bokeh.application.application import SessionContext
    from bokeh.document import Document

bokeh = FlaskBokeh()


def note(what: str) -> None:
    with open(os.environ["LIFECYCLE_LOG"], "a") as log:
        log.write(f"{what} {os.getpid()}\n")


def destroyed(context: SessionContext) -> None:
    note("document destroyed")


@bokeh.application("/x")
def x(doc: Document) -> None:
    doc.add_root(Slider(start=0, end=10, value=1, name="k"))
    doc.on_session_destroyed(destroyed)


bokeh.add_application("/directory", "hooked_directory")


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a secret key for the tests only"
    bokeh.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template_string("{% bokeh '/x' %}{% bokeh '/directory' %}")

    @app.get("/pulled")
    @bokeh.with_session("/directory")
    def pulled(bokeh_session: object) -> str:
        return str(os.getpid())

    if os.environ.get("LIFECYCLE_START"):
        with app.test_request_context():  # start a server before the fork
            bokeh.start()
            with bokeh.pull_session("/x"):
                pass
    return app
