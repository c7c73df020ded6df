"""The blueprint: static files, the WebSocket, and pages of applications that want one.

Everything a browser asks of a plot comes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response

from ..state import BokehState
from .host_matching import follow_hosts, rule_options
from .pages import Pages
from .request import check_trusted_hosts
from .response_headers import mark_own
from .websocket import _Views

__all__ = ("make_blueprint",)

logger = logging.getLogger("flask_bokeh")


def make_blueprint(state: BokehState, app: Flask, template_folder: str) -> Blueprint:
    """The blueprint of one Flask application. Its name leaves ``bokeh`` to the site."""
    blueprint = Blueprint("flask_bokeh", __name__, template_folder=template_folder)
    views, pages = _Views(state), Pages(state)

    def rule(rule: str, endpoint: str, view: Callable[..., Response], **options: Any) -> None:
        for more in rule_options(app):
            blueprint.add_url_rule(rule, endpoint, view, **options, **more)

    rule("/static/<path:filename>", "static", pages.static)
    rule("/static/extensions/<name>/<path:filename>", "extension_static", pages.extension_static)
    rule("/<path:application>/static/<path:filename>", "app_static", pages.application_static)
    for prefix in ("", "/<path:application>"):
        # Werkzeug tells WebSocket requests from others by the rule, so there are two.
        rule(f"{prefix}/ws", "websocket", views.websocket, methods=["GET"], websocket=True)
        rule(f"{prefix}/ws", "session_state", views.session_state)
        rule(f"{prefix}/autoload.js", "autoload", pages.autoload)
        rule(f"{prefix}/metadata", "metadata", pages.metadata)
        rule(prefix or "/", "page", pages.page)
    follow_hosts(blueprint)
    blueprint.before_request(check_trusted_hosts)
    blueprint.after_request(mark_own)
    return blueprint
