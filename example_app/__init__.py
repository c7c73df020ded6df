"""The example site of flask_bokeh: what to run first, and what to copy from.

``flask --app example_app run`` or ``gunicorn "example_app:create_app()"``.
"""

from __future__ import annotations

import os

from flask import Flask

from .extensions import bokeh


def create_app() -> Flask:
    """Make the site: an ordinary application factory, with one line for the plots."""
    from . import views  # which imports the plots, which register themselves

    app = Flask(__name__)
    # Cookies and session tokens are signed with it: in production, set it, and keep it.
    app.secret_key = os.environ.get("SECRET_KEY", "only for the example site, not for yours")
    bokeh.init_app(app)
    app.register_blueprint(views.blueprint)
    return app
