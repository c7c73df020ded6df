"""Static files: BokehJS, our script, and those of Bokeh extensions and applications."""

from __future__ import annotations

from flask import Response, abort, request, send_from_directory
from werkzeug.security import safe_join

from ..applications.registry import Registration
from ..bokeh_api import embed
from ..file_versions import content_version
from ..security.arguments import Arguments
from ..security.visit import Visit
from ..state import AppState
from .browser_script import browser_script
from .requested_application import requested_application

__all__ = ("StaticViews", "check_access")

_YEAR = 31_536_000
"""Seconds."""


class StaticViews:
    """The views of static files of one Flask application."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def browser_script(self) -> Response:
        """Send our script, which every page with a plot loads."""
        script = browser_script()
        response = Response(script.text, mimetype="text/javascript")
        response.set_etag(script.version)
        if request.args.get("v") == script.version:
            response.cache_control.public = True
            response.cache_control.immutable = True
            response.cache_control.max_age = _YEAR
        else:
            response.cache_control.no_cache = True
        response.make_conditional(request)
        return response

    def bokehjs(self, filename: str) -> Response:
        """Send a file of BokehJS."""
        return _send(embed.static_folder(), filename)

    def extension(self, name: str, filename: str) -> Response:
        """Send a file of a Bokeh extension."""
        return _send(embed.static_folder(name), filename)

    def application(self, application: str, filename: str) -> Response:
        """Send a file from the ``static`` folder of a directory application."""
        registration = requested_application(self._state, application)
        check_access(self._state, registration)
        folder = self._state.servers.get().static_folder(registration.path)
        is_guarded = bool(self._state.registrations.guards.for_path(registration.path))
        return _send(folder, filename, public=not is_guarded)


def check_access(state: AppState, registration: Registration) -> None:
    """Run the guards of an application for a request that belongs to no session."""
    visit = Visit(
        user=state.integration.identify().user,
        arguments=Arguments(dict(request.args.lists())),
        path=registration.path,
        session_id="",
    )
    state.integration.check_access(visit)


def _send(folder: str | None, filename: str, *, public: bool = True) -> Response:
    """Send a file; for ever cacheable if its URL contains the hash of its content.

    :param public: whether shared caches may store it; they know no guards.
    """
    if folder is None:
        abort(404)
    path = safe_join(folder, filename)
    version = request.args.get("v")
    # With another version in the URL, a cache would keep today's file for tomorrow's URL.
    is_versioned = version is not None and path is not None and version == content_version(path)
    response = send_from_directory(folder, filename, max_age=_YEAR if is_versioned else None)
    if is_versioned:
        response.cache_control.public = public
        response.cache_control.immutable = True
    if not public:
        response.cache_control.public = False
        response.cache_control.private = True
    return response
