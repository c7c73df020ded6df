"""The example site of flask_bokeh: run it first, and copy from it.

``flask --app example_app run`` or ``gunicorn "example_app:create_app()"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from . import auth, plots, views  # plots: its modules register themselves
from .csp import nonce, send_policy
from .database import create_database
from .extensions import bokeh, csrf, db, login_manager
from .source import source

__all__ = ("create_app", "plots")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Create the site.

    :param config: settings for tests; they win over ``FLASK_*`` environment variables.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        # Signs cookies and session tokens. In production set FLASK_SECRET_KEY, and keep it secret.
        SECRET_KEY="for the demo only",
        SESSION_COOKIE_SAMESITE="Lax",  # with https, also set SESSION_COOKIE_SECURE
        SQLALCHEMY_DATABASE_URI="sqlite:///example.db",  # in the instance folder
        WTF_CSRF_TIME_LIMIT=None,  # CSRF tokens are good as long as the cookie session
        BOKEH_CSP_NONCE=nonce,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})

    db.init_app(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    bokeh.init_app(app)  # users are those of Flask-Login

    app.register_blueprint(auth.blueprint)
    app.register_blueprint(views.blueprint)
    app.after_request(send_policy)
    app.add_template_global(source)
    create_database(app)
    return app
