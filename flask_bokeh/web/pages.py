"""Pages of applications that are registered with ``page=True``, and their metadata."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, abort, current_app, jsonify, request

from ..applications.registry import Registration
from ..errors import ArgumentsError
from ..security.principal import Principal
from ..security.tokens import Token
from ..state import AppState
from .markup import page_markup
from .request_state import request_state
from .requested_application import requested_page_application
from .response_headers import allow_frames
from .static import check_access

__all__ = ("PageViews", "issue_page_token")

logger = logging.getLogger("flask_bokeh")

_FRAMES = ("iframe", "frame")
"""The values of ``Sec-Fetch-Dest`` for a page inside another."""
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers that tell whether a page is prefetched."""


class PageViews:
    """The views of applications' own pages of one Flask application."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def page(self, application: str = "") -> Response:
        """Create a session, and return the page that shows it."""
        state = self._state
        registration = requested_page_application(state, application)
        self._check_fetch_metadata(registration)
        principal = state.integration.identify_or_set_cookie()
        token = issue_page_token(state, registration, request.args, principal)
        if request.method == "HEAD":  # no browser will connect
            return Response(mimetype="text/html")
        html = self._create_page(token, principal)
        allow_frames(state.settings.allow_ws_origin)
        return Response(html, mimetype="text/html")

    def metadata(self, application: str = "") -> Response:
        """Return the application's own metadata as JSON."""
        registration = requested_page_application(self._state, application)
        check_access(self._state, registration)
        metadata = self._state.servers.get().metadata(registration.path)
        return jsonify(url=registration.path, data=metadata)

    def _create_page(self, token: Token, principal: Principal) -> str:
        server, settings = self._state.servers.get(), self._state.settings
        server.check_waiting_pages()
        token = self._state.authorizer.tokens.renew(replace(token, worker_id=server.worker_id))
        server.reserve(token, principal)
        headers = self._state.integration.application_headers()
        return server.render_page(token, headers, page_markup(settings, token))

    def _check_fetch_metadata(self, registration: Registration) -> None:
        """Abort before a session is created for a page that nobody will see.

        Browsers send Fetch Metadata headers (``Sec-Fetch-*``) over https and on localhost.
        """
        headers = request.headers
        if any("prefetch" in headers.get(name, "") for name in _PURPOSES):
            # After an error, the browser requests the page again when it is shown.
            abort(503, "A plot can't be fetched ahead.")
        if headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site"):
            return
        destination = headers.get("Sec-Fetch-Dest")
        if destination not in ("document", *_FRAMES):
            abort(403, "A page of another site can link to a plot, not fetch it.")
        if destination in _FRAMES and not self._state.settings.allow_ws_origin:
            logger.warning(
                "Refused a page of %s to a frame of another site; see BOKEH_ALLOW_WS_ORIGIN.",
                registration.path,
            )
            abort(403, "This site's plots can't be framed there.")


def issue_page_token(
    state: AppState,
    registration: Registration,
    arguments: Mapping[str, Any],
    principal: Principal,
) -> Token:
    """Issue a token for the arguments of this request; abort with 414 if there are too many."""
    request_state().holds_token = True
    try:
        return state.authorizer.issue(registration.path, arguments=arguments, principal=principal)
    except ArgumentsError as error:
        logger.warning("Refused a page of %s: %s", registration.path, error)
        abort(414, str(error) if current_app.debug else "The URL has too many arguments.")
