"""Flask-Login's user as the default user, and its logout."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh

from ..support.html import tokens_in

flask_login: Any = pytest.importorskip("flask_login")


def test_flask_logins_user_is_the_default(app: Flask, site: FlaskClient) -> None:
    """With Flask-Login set up, a visit has its user, or None without a login."""

    class User(flask_login.UserMixin):
        id = 7

    flask_login.LoginManager(app).user_loader(lambda name: User())
    state = app.extensions["bokeh"]
    with app.test_request_context():
        assert state.authorizer.issue("/x").visit.user is None
    with app.test_request_context():
        flask_login.login_user(User())
        assert state.authorizer.issue("/x").visit.user == "7"


def test_logout_revokes_tokens_if_loader_reads_the_session(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """Flask-Login clears the session before its signal; the user's tokens are revoked."""

    class User(flask_login.UserMixin):
        id = "ann"

    flask_login.LoginManager(app).user_loader(lambda name: User())
    bokeh.user_loader(lambda: session.get("_user_id"))

    @app.get("/in")
    def log_in() -> str:
        return str(flask_login.login_user(User()))

    @app.get("/out")
    def log_out() -> str:
        return str(flask_login.logout_user())

    site.get("/in")
    (token,) = tokens_in(site.get("/show").text)
    headers = {"Bokeh-Session-Token": token}
    assert site.get("/bokeh/x/ws", headers=headers).status_code == 204
    site.get("/out")
    site.get("/in")
    assert site.get("/bokeh/x/ws", headers=headers).status_code == 410
