"""The application that a URL names."""

from __future__ import annotations

from flask import abort, current_app, request

from ..applications.registry import Registration
from ..errors import UnknownApplicationError
from ..state import AppState

__all__ = ("requested_application", "requested_page_application")

# Bokeh's own server lets clients choose a session with these.
_PARAMETERS = ("bokeh-session-id", "bokeh-token")
_HEADER = "Bokeh-Session-Id"


def requested_application(state: AppState, name: str) -> Registration:
    """Return the application of the matched URL; abort with 404 if there is none.

    :param name: the application's path without the first slash.
    """
    try:
        return state.registrations.applications.get(f"/{name}")
    except UnknownApplicationError:
        abort(404)


def requested_page_application(state: AppState, name: str) -> Registration:
    """Return the application of the matched URL if it has a page of its own.

    Abort with 404 if it has none, and with 403 if the client wants to choose a session.
    """
    registration = requested_application(state, name)
    if any(one in request.args for one in _PARAMETERS) or _HEADER in request.headers:
        abort(403, "A session can't be chosen: each page gets its own.")
    if not registration.page:
        abort(
            404,
            f"The application {registration.path} has no page of its own. "
            "Embed it, or register it with page=True."
            if current_app.debug
            else None,
        )
    return registration
