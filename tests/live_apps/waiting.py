"""A site whose applications take until somebody releases them."""

from __future__ import annotations

from functools import partial
from threading import Event

from bokeh.document import Document
from flask import Flask, render_template_string

from flask_bokeh import FlaskBokeh, PulledSession

bokeh = FlaskBokeh()
released = {"direct": Event(), "client": Event(), "waits": Event()}


def wait(name: str, doc: Document) -> None:
    released[name].wait(50)


for _name in released:
    bokeh.add_application(f"/{_name}", partial(wait, _name), page=True)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="for the tests only", BOKEH_PULL_TIMEOUT=60)
    bokeh.init_app(app)

    @app.get("/direct")
    @bokeh.with_session("/direct")
    def direct(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}")

    @app.get("/client")
    @bokeh.with_session("/client", transport="client")
    def client(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/release/<path:page>")
    def release(page: str) -> str:
        released[page.rpartition("/")[2]].set()
        return "released"

    return app
