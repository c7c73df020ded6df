"""The blueprint: the URL rules of everything that a browser requests from flask_bokeh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response

from ..state import AppState
from .autoload import AutoloadView
from .hosts import check_trusted_hosts, follow_hosts, rule_options
from .pages import PageViews
from .rendering import template_folder
from .response_headers import mark_as_ours
from .session_status import SessionStatusView
from .static import StaticViews
from .websocket import WebSocketView

__all__ = ("make_blueprint",)


def make_blueprint(state: AppState, app: Flask) -> Blueprint:
    """Return the blueprint of one Flask application. Its name leaves ``bokeh`` to the site."""
    blueprint = Blueprint("flask_bokeh", __name__, template_folder=template_folder())
    static, pages = StaticViews(state), PageViews(state)
    websocket, session_status = WebSocketView(state), SessionStatusView(state)
    autoload = AutoloadView(state)

    def add(rule: str, endpoint: str, view: Callable[..., Response], **options: Any) -> None:
        for host in rule_options(app):
            blueprint.add_url_rule(rule, endpoint, view, **options, **host)

    add("/static/flask_bokeh.js", "script", static.browser_script)
    add("/static/<path:filename>", "static", static.bokehjs)
    add("/static/extensions/<name>/<path:filename>", "extension_static", static.extension)
    add("/<path:application>/static/<path:filename>", "app_static", static.application)
    for prefix in ("", "/<path:application>"):
        # Werkzeug distinguishes WebSocket requests from others by their rules.
        add(f"{prefix}/ws", "websocket", websocket.upgrade, methods=["GET"], websocket=True)
        add(f"{prefix}/ws", "session_status", session_status.status)
        add(f"{prefix}/autoload.js", "autoload", autoload.script)
        add(f"{prefix}/metadata", "metadata", pages.metadata)
        add(prefix or "/", "page", pages.page)
    follow_hosts(blueprint)
    blueprint.before_request(check_trusted_hosts)
    blueprint.after_request(mark_as_ours)
    return blueprint
