"""The recipe of Bokeh's documentation: a Bokeh server, and a Flask page that edits a session.

``python -m benchmarks._recipe`` is the Bokeh server; :func:`create_app` is the Flask site,
which finds it in ``RECIPE_URL``. Written as documented ("Bokeh server APIs", section
"Connecting with bokeh.client"), with all that this implies.
"""

# ruff: noqa: T201
from __future__ import annotations

import os

from bokeh.client import pull_session
from bokeh.embed import server_session
from bokeh.server.server import Server
from flask import Flask, Response, jsonify, render_template, request
from jinja2 import DictLoader
from tornado.web import RequestHandler

from ._sliders import customize, sliders

TEMPLATES = {"embed.html": "<!doctype html><title>t</title><body>{{ script|safe }}</body>"}


def create_app() -> Flask:
    app = Flask(__name__)
    app.jinja_loader = DictLoader(TEMPLATES)
    url = os.environ.get("RECIPE_URL", "http://localhost:5006/sliders")

    @app.get("/")
    def page() -> str:
        with pull_session(url=url) as session:
            assert session.document is not None
            customize(session.document, request.args.get("user", "nobody"))
            script = server_session(session_id=session.id, url=url)
            return render_template("embed.html", script=script)

    @app.get("/stats")
    def stats() -> Response:
        return jsonify(pid=os.getpid())

    return app


class Stats(RequestHandler):
    def get(self) -> None:
        self.write({"pid": os.getpid(), "sessions": len(server.get_sessions())})


if __name__ == "__main__":
    lifetime = float(os.environ["FLASK_BOKEH_UNUSED_SESSION_LIFETIME"])
    server = Server(
        {"/sliders": sliders},
        port=0,
        extra_patterns=[("/stats", Stats)],
        unused_session_lifetime_milliseconds=round(lifetime * 1000),
        check_unused_sessions_milliseconds=round(lifetime * 100),
    )
    server.start()
    print(f"Listening at: http://localhost:{server.port}", flush=True)
    server.io_loop.start()
