"""The steps of ``init_app``: settings, integration, blueprint, handlers and Jinja tags."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Flask, Response, current_app, request_finished
from werkzeug.exceptions import ServiceUnavailable

from ..applications.registrations import ExtensionRegistrations
from ..errors import LimitError
from ..settings import Settings
from ..state import AppState
from .blueprint import make_blueprint
from .browser_cookie import BrowserCookie
from .integration import FlaskIntegration
from .jinja import BokehTags
from .logout import follow_logouts
from .request_state import request_state
from .response_headers import add_security_headers, forbid_storing

__all__ = ("set_up",)

logger = logging.getLogger("flask_bokeh")


def set_up(app: Flask, options: Mapping[str, Any], registered: ExtensionRegistrations) -> AppState:
    """Set up a Flask application, and return its state.

    :param options: settings that take precedence over ``app.config``.
    :raises ConfigError: naming every setting that is wrong.
    """
    settings = Settings.load(app.config, options)
    integration = FlaskIntegration(app, settings)
    state = AppState(settings, integration, registered)
    app.register_blueprint(make_blueprint(state, app), url_prefix=settings.url_prefix)
    app.after_request(partial(_finish_response, integration.cookie))
    request_finished.connect(add_security_headers, app)
    app.register_error_handler(LimitError, partial(_refuse, integration))
    follow_logouts(app)
    app.jinja_env.add_extension(BokehTags)
    return state


def _finish_response(cookie: BrowserCookie | None, response: Response) -> Response:
    """Forbid caches to store a page that holds a token, and set the browser cookie.

    The content of a streamed page is not known yet, so it counts as one with a token.
    """
    state = request_state()
    is_stream = response.is_streamed and response.content_length is None
    is_html = response.mimetype == "text/html" and "Cache-Control" not in response.headers
    if state.holds_token or (is_stream and is_html):
        forbid_storing(response)
    if cookie is not None:
        cookie.write(response)
    state.headers_sent = True
    state.sent_no_store = response.cache_control.no_store
    return response


def _refuse(integration: FlaskIntegration, error: LimitError) -> Any:
    """Return a 503 for a page that could not get a session, and log the limit."""
    principal = integration.identify()
    logger.warning("Refused a session to %s: %s is %s.", principal, error.setting, error.limit)
    return current_app.handle_http_exception(ServiceUnavailable(str(error)))
