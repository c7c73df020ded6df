"""``autoload.js``: the script that Bokeh's own ``server_document`` loads, also on other sites."""

from __future__ import annotations

import logging
import re

from flask import Response, abort, current_app, request

from ..applications.registry import Registration
from ..bokeh_api import embed
from ..security.principal import Principal
from ..state import AppState
from .origin import is_own_origin, origin_is_allowed, own_origin
from .pages import issue_page_token
from .requested_application import requested_page_application
from .urls import application_url, root_url

__all__ = ("AutoloadView",)

logger = logging.getLogger("flask_bokeh")

_ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class AutoloadView:
    """The view of ``autoload.js``."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def script(self, application: str = "") -> Response:
        """Return the script that loads BokehJS and shows a new session."""
        registration = requested_page_application(self._state, application)
        self._check_origin(registration)
        element_id = _requested_element()
        token = issue_page_token(
            self._state, registration, _application_arguments(), self._identify()
        )
        settings, host = self._state.settings, embed.url_path(own_origin())
        script = embed.autoload_script(
            settings,
            token.encoded,
            element_id,
            app_url=application_url(settings, registration.path),
            server_url=host,
            root_url=host + root_url(settings),
            resources=request.args.get("resources") != "none",
        )
        response = Response(script, mimetype="application/javascript")
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin is not None and origin_is_allowed(settings, origin):
            response.access_control_allow_origin = origin
            response.access_control_allow_credentials = True
        return response

    def _check_origin(self, registration: Registration) -> None:
        """Abort with 403 if a page of a site that is not allowed loads the script."""
        if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
            return
        origin = request.headers.get("Origin")
        if origin is not None and origin_is_allowed(self._state.settings, origin):
            return
        # Browsers hide the response from the page, so the reason goes to the log as well.
        reason = "This site's plots can't be embedded there"
        detail = f"{reason}; see BOKEH_ALLOW_WS_ORIGIN."
        logger.warning("Refused %r a script of %s: %s", origin, registration.path, detail)
        abort(403, detail if current_app.debug else f"{reason}.")

    def _identify(self) -> Principal:
        principal = self._state.integration.identify_or_set_cookie()
        origin = request.headers.get("Origin")
        if principal.user is None and origin is not None and not is_own_origin(origin):
            # Browsers don't send our cookie from pages of other sites: issue a bearer token.
            return Principal(address=principal.address)
        return principal


def _requested_element() -> str:
    element_id = request.args.get("bokeh-autoload-element", "")
    if not _ELEMENT_ID.fullmatch(element_id):
        abort(400, "bokeh-autoload-element must be the id of an element.")
    return element_id


def _application_arguments() -> dict[str, list[str]]:
    return {
        name: values
        for name, values in request.args.lists()
        if not name.startswith("bokeh-") and name != "resources"
    }
