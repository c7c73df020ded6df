"""What ``init_app`` does to a Flask application."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, request_finished
from werkzeug.exceptions import ServiceUnavailable

from ..applications.registrations import Registrations
from ..cli import commands
from ..errors import LimitError
from ..security.site import SENT, Site
from ..settings import Settings
from ..state import BokehState
from .auth import Access
from .blueprint import make_blueprint
from .browser_cookie import BrowserCookie
from .error_box import error_box
from .jinja import BokehTags
from .markup import holds_token, template_folder
from .request import visible_headers
from .response_headers import complete

__all__ = ("wire",)

logger = logging.getLogger("flask_bokeh")


def wire(
    app: Flask,
    options: Mapping[str, Any],
    registered: Registrations,
) -> BokehState:
    """Read the settings, and add blueprint, commands, tags and handlers.

    :raises ConfigError: naming every setting that is wrong.
    """
    settings = Settings.load(app.config, options)
    cookie = BrowserCookie(lambda: state.tokens.keys) if settings.bind_browser else None
    access = Access(lambda: state.registrations)
    site = Site(
        root=Path(app.root_path),
        context=app.app_context,
        secrets=partial(_secrets, app),
        principal=partial(access.principal, cookie),
        visitor=partial(access.principal, cookie, page=True),
        check=access.check,
        headers=visible_headers,
        report=partial(error_box, app),
        debug=lambda: app.debug,
    )
    state = BokehState(settings, site, registered)
    state.applications  # noqa: B018  # complains now about BOKEH_APPLICATIONS
    blueprint = make_blueprint(state, app, template_folder())
    app.register_blueprint(blueprint, url_prefix=settings.url_prefix)
    app.cli.add_command(commands)
    app.after_request(partial(_finish, cookie))
    request_finished.connect(complete, app)
    app.register_error_handler(LimitError, partial(_unavailable, access))
    access.follow_logouts(app)
    app.jinja_env.add_extension(BokehTags)
    return state


def _secrets(app: Flask) -> list[str | bytes]:
    if not app.secret_key:
        return []
    return [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or [])]


def _finish(cookie: BrowserCookie | None, response: Response) -> Response:
    """A page with a token in it must not come out of a cache for somebody else.

    What a streamed page will hold is not known yet.
    """
    streams = response.is_streamed and response.content_length is None
    html = response.mimetype == "text/html" and "Cache-Control" not in response.headers
    if holds_token() or (streams and html):
        response.headers["Cache-Control"] = "no-store"
    if cookie is not None:
        cookie.write(response)
    request.environ[SENT] = response.cache_control.no_store
    return response


def _unavailable(access: Access, error: LimitError) -> Any:
    principal = access.principal(None)
    logger.warning("Refused a session to %s: %s is %s.", principal, error.setting, error.limit)
    return current_app.handle_http_exception(ServiceUnavailable(str(error)))
