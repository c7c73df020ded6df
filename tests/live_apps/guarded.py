"""A site with users, guards and limits. Settings come in ``SITE_CONFIG``."""

from __future__ import annotations

import json
import os

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import Slider
from bokeh.plotting import figure
from flask import Flask, Response, abort, jsonify, redirect, render_template_string
from flask_login import LoginManager, UserMixin, login_required, login_user, logout_user
from flask_talisman import Talisman
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_bokeh import FlaskBokeh, PulledSession, Visit

KEY = "a secret key for the tests only"
PAGE = "<!doctype html><title>t</title><link rel=icon href='data:,'><body>{body}</body>"

bokeh = FlaskBokeh()
roles: dict[str, str] = {}


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def plot(doc: Document) -> None:
    slider = Slider(start=0, end=10, value=1, title="k", name="k")
    shown = figure(title="plain", name="plot", height=200, width=400)
    shown.line([1, 2], [1, 2])

    def changed(attr: str, old: int, new: int) -> None:
        shown.title.text = f"k={new}"

    slider.on_change("value", changed)
    doc.add_root(column(slider, shown))


bokeh.add_application("/open", plot)
bokeh.add_application("/other", plot)
bokeh.add_application("/private", plot)
bokeh.add_application("/admin", plot)
bokeh.add_application("/owned", plot)
bokeh.add_application("/page", plot, page=True)
bokeh.add_application("/members", plot, page=True)


@bokeh.guard("/private")
@login_required
def logged_in() -> bool:
    return True


@bokeh.guard("/admin")
def is_admin(visit: Visit) -> bool:
    if visit.user is None:
        abort(401)
    return roles.get(visit.user) == "admin"


@bokeh.guard("/owned")
def owns(visit: Visit) -> bool | Response:
    if visit.user is not None and roles.get(visit.user) == "suspended":
        return redirect("/login")  # type: ignore[return-value]
    return visit.arguments.get("owner") == visit.user or redirect("/login/nobody")  # type: ignore[return-value]


@bokeh.guard("/members")
@bokeh.guard("/files")
@bokeh.guard("/dotted.files")
def may_have_files(visit: Visit) -> bool:
    return visit.user is not None


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = KEY
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    app.config.update(json.loads(os.environ.get("SITE_CONFIG", "{}")))
    app.config["BOKEH_APPLICATIONS"] = {
        "/files": "files",
        "/others": "others",
        "/dotted.files": "files",
    }
    bokeh.init_app(app)
    manager = LoginManager(app)
    manager.user_loader(User)
    manager.login_view = "login_page"
    if policy := app.config.get("POLICY"):
        Talisman(
            app,
            force_https=False,
            content_security_policy=policy,
            content_security_policy_nonce_in=app.config.get("NONCE_IN", ["script-src"]),
        )
    if app.config.get("PROXIES"):
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]

    def page(body: str) -> str:
        return render_template_string(PAGE.replace("{body}", body))

    @app.get("/login")
    def login_page() -> str:
        return "please log in"

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return "in"

    @app.get("/logout")
    def logout() -> str:
        logout_user()
        return "out"

    @app.get("/role/<name>/<role>")
    def role(name: str, role: str) -> str:
        roles[name] = role
        return "changed"

    @app.get("/close/<name>")
    def close(name: str) -> str:
        return str(bokeh.close_sessions(user=name))

    @app.get("/show/<path:path>")
    def show(path: str) -> str:
        return page(f"{{% bokeh '/{path}', owner=request.args.get('owner', '') %}}")

    @app.get("/favicon.ico")
    def favicon() -> tuple[str, int]:
        return "", 204

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/mine")
    @bokeh.with_session("/other")
    def mine(bokeh_session: PulledSession) -> str:
        return page("{% bokeh %}")

    @app.get("/for/<name>")
    def for_somebody(name: str) -> str:
        with bokeh.pull_session("/other", user=name):
            return page("{% bokeh %}")

    @app.get("/stats")
    def stats() -> Response:
        server = app.extensions["bokeh"].servers.running()
        sessions = [] if server is None else server.bokeh.get_sessions()
        return jsonify(
            pid=os.getpid(),
            descriptors=len(os.listdir("/proc/self/fd")),
            sessions=len(sessions),
            reservations=0 if server is None else len(server.limits._reservations),
            sockets=0 if server is None else server.open_sockets,
            port=None if server is None else server.port,
        )

    return app
