"""A site with a host for each tenant: by Flask's host matching, or by subdomains."""

from __future__ import annotations

from typing import Any

from bokeh.document import Document
from bokeh.models import Slider
from bokeh.plotting import figure
from flask import Blueprint, Flask, jsonify, render_template_string, url_for

from flask_bokeh import FlaskBokeh, Visit

bokeh = FlaskBokeh()
PAGE = "<!doctype html><link rel=icon href='data:,'><body>{% bokeh '/x', tenant=tenant %}</body>"


@bokeh.application("/x", page=True)
def fill(doc: Document) -> None:
    plot, slider = figure(name="plot", height=200), Slider(start=0, end=5, value=1)
    plot.line([0, 1], [0, 1])

    def moved(attr: str, old: int, new: int) -> None:
        plot.title.text = f"moved to {new}"

    slider.on_change("value", moved)
    doc.add_root(plot)
    doc.add_root(slider)


@bokeh.customize("/x")
def greet(doc: Document, visit: Visit) -> None:
    doc.select_one({"name": "plot"}).title.text = f"plot of {visit.arguments.get('tenant')}"


def _finish(app: Flask, **options: str) -> Flask:
    app.secret_key = "for the tests only"
    # The extension's blueprint had this name once.
    own = Blueprint("bokeh", __name__)

    @own.get("/", **options)
    def index(tenant: str, port: int = 0) -> str:
        return render_template_string(PAGE, tenant=tenant)

    @own.get("/urls", **options)
    def urls(tenant: str, port: int = 0) -> Any:
        static = url_for("flask_bokeh.static", filename="js/bokeh.min.js")
        return jsonify([url_for("flask_bokeh.page", application="x"), static])

    app.register_blueprint(own)
    return app


def by_host() -> Flask:
    app = Flask(__name__, host_matching=True, static_host="static.localhost")
    bokeh.init_app(app)
    return _finish(app, host="<tenant>.localhost:<int:port>")


def by_subdomain() -> Flask:
    app = Flask(__name__, subdomain_matching=True)
    _finish(app, subdomain="<tenant>")

    @app.get("/")
    def front() -> str:
        return render_template_string(PAGE, tenant="front")

    bokeh.init_app(app)

    def with_port(environ: Any, start_response: Any, inner: Any = app.wsgi_app) -> Any:
        app.config["SERVER_NAME"] = f"localhost:{environ['SERVER_PORT']}"
        return inner(environ, start_response)

    app.wsgi_app = with_port  # type: ignore[method-assign]
    return app
