"""A flask_bokeh site with one page for each way to customize a session.

Settings come from the environment, as ``FLASK_BOKEH_UNUSED_SESSION_LIFETIME=2``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, render_template, request
from jinja2 import DictLoader

from flask_bokeh import FlaskBokeh, PulledSession, Visit

from ._sliders import customize, sliders

if TYPE_CHECKING:
    from bokeh.document import Document

PAGE = "<!doctype html><title>t</title><body>{}</body>"
TEMPLATES = {
    "empty.html": PAGE.format("<p>no plot</p>"),
    "hook.html": PAGE.format("{% bokeh '/hooked', who=request.args.get('user', 'nobody') %}"),
    "session.html": PAGE.format("{% bokeh %}"),
}

# Clients without cookies, as many as there may be, so the same work as for the other hosts.
known = "BENCHMARK_VISITORS" in os.environ
bokeh = FlaskBokeh(bind_browser=known, max_sessions=None, max_session_rate=None)
bokeh.application("/sliders")(sliders)


@bokeh.application("/hooked")
def hooked(doc: Document) -> None:
    sliders(doc)


@bokeh.customize("/hooked")
def hook(doc: Document, visit: Visit) -> None:
    customize(doc, visit.arguments["who"])


def user() -> str:
    return request.args.get("user", "nobody")


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a secret key for benchmarks only"
    app.config.from_prefixed_env()
    app.jinja_loader = DictLoader(TEMPLATES)
    bokeh.init_app(app)

    @app.get("/empty")
    def empty() -> str:
        return render_template("empty.html")

    @app.get("/hook")
    def hook_page() -> str:
        return render_template("hook.html")

    @app.get("/direct")
    @bokeh.with_session("/sliders")
    def direct(bokeh_session: PulledSession) -> str:
        customize(bokeh_session.document, user())
        return render_template("session.html")

    @app.get("/client")
    @bokeh.with_session("/sliders", transport="client")
    def client(bokeh_session: PulledSession) -> str:
        customize(bokeh_session.document, user())
        return render_template("session.html")

    @app.get("/stats")
    def stats() -> Response:
        server = app.extensions["bokeh"].servers.get()
        sessions = server.bokeh.get_sessions()  # there is no public list yet
        return jsonify(
            pid=os.getpid(),
            sessions=len(sessions),
            sockets=server.open_sockets,
            port=server.port,
        )

    return app
