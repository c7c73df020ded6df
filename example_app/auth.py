"""Log in and out.

A public site also limits how often somebody may try a password, and serves over https.
"""

from __future__ import annotations

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from sqlalchemy import select
from werkzeug.wrappers import Response

from .database import DEMO_PASSWORD, DEMO_USERS
from .extensions import db, login_manager
from .models import User

__all__ = ("blueprint", "load_user")

blueprint = Blueprint("auth", __name__)
login_manager.login_view = "auth.login"
login_manager.login_message = "Log in to see this page."

# A path: "//host", "/\host" and the like would lead to another site.
LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20]*")


@login_manager.user_loader
def load_user(user_id: str | None) -> User | None:
    """Return the user with an id from a cookie, or from a Bokeh document's ``visit.user``."""
    return None if user_id is None else db.session.get(User, int(user_id))


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response | str:
    """Show the form, and log in with a name and a password."""
    if current_user.is_authenticated:
        return redirect(next_page())
    if request.method == "POST":
        name = request.form.get("name", "")
        user = db.session.scalar(select(User).where(User.name == name))
        if user is not None and user.check_password(request.form.get("password", "")):
            login_user(user)
            return redirect(next_page())
        flash("This name and password do not match an account.")
    return render_template("login.html", demo_users=DEMO_USERS, demo_password=DEMO_PASSWORD)


@blueprint.post("/logout")
@login_required
def logout() -> Response:
    """Log out. flask_bokeh then closes the user's plots, in every worker."""
    logout_user()
    return redirect(url_for("auth.login"))


def next_page() -> str:
    """Return the path in the query's ``next``, if it is one of this site."""
    target = request.args.get("next", "")
    return target if LOCAL_PATH.fullmatch(target) else url_for("site.index")
