"""A site that responds with the request as JSON, with and without flask_bokeh."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

from flask_bokeh import FlaskBokeh


def create_app() -> Flask:
    """Make the site without flask_bokeh."""
    app = Flask(__name__)
    app.secret_key = "a secret key for the tests only"

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"])
    def echo(path: str) -> Response:
        headers = sorted((name, value) for name, value in request.headers if name != "Host")
        query = request.query_string.decode("latin-1")
        body = request.get_data().decode("latin-1")
        return jsonify(request.method, path, query, headers, body)

    return app


def create_live_app() -> Flask:
    """Make the site with flask_bokeh, and start its server at the first request."""
    app = create_app()
    bokeh = FlaskBokeh()
    bokeh.add_application("/plot", lambda doc: None)
    bokeh.init_app(app)
    app.before_request(bokeh.start)
    return app
