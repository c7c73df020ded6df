"""A site whose application waits for a request of ``/release``."""

from __future__ import annotations

import threading

from bokeh.document import Document
from flask import Flask, render_template_string

from flask_bokeh import FlaskBokeh, PulledSession

bokeh = FlaskBokeh()
released = threading.Event()


@bokeh.application("/waits", page=True)
def waits(doc: Document) -> None:
    released.wait(50)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="for the tests only", BOKEH_PULL_TIMEOUT=60)
    bokeh.init_app(app)

    @app.get("/direct")
    @bokeh.with_session("/waits")
    def direct(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}")

    @app.get("/client")
    @bokeh.with_session("/waits", transport="client")
    def client(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/release")
    def release() -> str:
        released.set()
        return "released"

    return app
