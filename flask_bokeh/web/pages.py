"""The pages, scripts and files of applications."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, abort, current_app, jsonify, request, send_from_directory
from werkzeug.security import safe_join

from ..applications.registry import Registration
from ..bokeh_api.v3 import embed
from ..errors import ArgumentsError
from ..file_versions import content_version
from ..security.arguments import Arguments
from ..security.principal import Principal
from ..security.tokens import Token
from ..security.visit import Visit
from ..state import BokehState
from .markup import application_url, mark_token, page_markup, root_url
from .origin import is_own_origin, origin_is_allowed, own_origin
from .request import asked_application, visible_headers
from .response_headers import allow_frames

__all__ = ("Pages",)

logger = logging.getLogger("flask_bokeh")

_YEAR = 31_536_000
_ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FRAMES = ("iframe", "frame")
"""What ``Sec-Fetch-Dest`` says for a page inside another."""
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers that say whether a page is fetched before anybody has asked for it."""
# How Bokeh's own server lets a client say which session it wants.
_CHOICES = ("bokeh-session-id", "bokeh-token")


class Pages:
    """Views that are answered here, without a socket."""

    def __init__(self, state: BokehState) -> None:
        self._state = state

    def static(self, filename: str) -> Response:
        """A file of BokehJS."""
        return _send(embed.static_folder(), filename)

    def extension_static(self, name: str, filename: str) -> Response:
        """A file of a Bokeh extension, such as Panel."""
        return _send(embed.static_folder(name), filename)

    def application_static(self, application: str, filename: str) -> Response:
        """A file from the ``static`` folder of a directory application."""
        registration = asked_application(self._state, application)
        self._check(registration)
        folder = self._state.server().context(registration.path).application.static_path
        return _send(folder, filename, public=not self._state.guards.for_path(registration.path))

    def page(self, application: str = "") -> Response:
        """The page of an application that was registered with ``page=True``."""
        registration = self._public(application)
        self._check_fetch(registration)
        principal = self._state.site.visitor()
        token = self._new_token(registration, request.args, principal)
        if request.method == "HEAD":  # nobody will connect
            return Response(mimetype="text/html")
        server = self._state.server()
        server.long_waits.check()
        token = self._state.tokens.renew(replace(token, worker_id=server.worker_id))
        server.limits.reserve(token, principal)
        settings, headers = self._state.settings, visible_headers()
        parts = page_markup(settings, token)

        async def render() -> str:
            return embed.page(await server.create_session(token, headers), parts)

        html = server.loop.call(
            render,
            what=f"the page of {registration.path}",
            timeout=settings.pull_timeout,
            long_waits=server.long_waits,
        )
        allow_frames(settings.allow_ws_origin)
        return Response(html, mimetype="text/html")

    def autoload(self, application: str = "") -> Response:
        """The script that Bokeh's own ``server_document`` asks for."""
        registration = self._public(application)
        settings = self._state.settings
        origin = request.headers.get("Origin")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and (
            origin is None or not origin_is_allowed(self._state.settings, origin)
        ):
            # A browser hides the answer from the page, and from who looks for the reason there.
            reason = "This site's plots can't be embedded there"
            detail = f"{reason}; see BOKEH_ALLOW_WS_ORIGIN."
            logger.warning("Refused %r a script of %s: %s", origin, registration.path, detail)
            abort(403, detail if current_app.debug else f"{reason}.")
        element_id = request.args.get("bokeh-autoload-element", "")
        if not _ELEMENT_ID.fullmatch(element_id):
            abort(400, "bokeh-autoload-element must be the id of an element.")
        arguments = {
            name: values
            for name, values in request.args.lists()
            if not name.startswith("bokeh-") and name != "resources"
        }
        principal = self._state.site.visitor()
        if principal.user is None and origin is not None and not is_own_origin(origin):
            # A browser keeps our cookie to itself on another site's page.
            principal = Principal(address=principal.address)
        host = embed.url_path(own_origin())
        script = embed.autoload_script(
            settings,
            self._new_token(registration, arguments, principal).encoded,
            element_id,
            app_url=application_url(settings, registration.path),
            server_url=host,
            root_url=host + root_url(settings),
            resources=request.args.get("resources") != "none",
        )
        response = Response(script, mimetype="application/javascript")
        response.vary.add("Origin")
        if origin is not None and origin_is_allowed(self._state.settings, origin):
            response.access_control_allow_origin = origin
            response.access_control_allow_credentials = True
        return response

    def metadata(self, application: str = "") -> Response:
        """What the application says of itself."""
        registration = self._public(application)
        self._check(registration)
        metadata = self._state.server().context(registration.path).application.metadata
        data = metadata() if callable(metadata) else metadata
        return jsonify(url=registration.path, data=data or {})

    def _public(self, application: str) -> Registration:
        registration = asked_application(self._state, application)
        if any(name in request.args for name in _CHOICES) or "Bokeh-Session-Id" in request.headers:
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

    def _check_fetch(self, registration: Registration) -> None:
        """Refuse what shows the page to nobody, before a session is made for it.

        Browsers say what they want a page for (``Sec-Fetch-*``), over https and on localhost.
        """
        headers = request.headers
        if any("prefetch" in headers.get(name, "") for name in _PURPOSES):
            abort(503, "A plot can't be fetched ahead.")  # so the browser asks again when it shows
        if headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site"):
            return
        shown = headers.get("Sec-Fetch-Dest")
        if shown not in ("document", *_FRAMES):
            abort(403, "A page of another site can link to a plot, not fetch it.")
        if shown in _FRAMES and not self._state.settings.allow_ws_origin:
            logger.warning(
                "Refused a page of %s to a frame of another site; see BOKEH_ALLOW_WS_ORIGIN.",
                registration.path,
            )
            abort(403, "This site's plots can't be framed there.")

    def _check(self, registration: Registration) -> None:
        """Run the guards for what is no session."""
        user, arguments = self._state.site.principal().user, Arguments(dict(request.args.lists()))
        visit = Visit(user=user, arguments=arguments, path=registration.path, session_id="")
        self._state.site.check(visit)

    def _new_token(
        self, registration: Registration, arguments: Mapping[str, Any], principal: Principal
    ) -> Token:
        mark_token()
        try:
            return self._state.new_token(
                registration.path, arguments=arguments, principal=principal
            )
        except ArgumentsError as error:
            logger.warning("Refused a page of %s: %s", registration.path, error)
            abort(414, str(error) if current_app.debug else "The URL has too many arguments.")


def _send(folder: str | None, filename: str, *, public: bool = True) -> Response:
    if folder is None:
        abort(404)
    path = safe_join(folder, filename)
    version = request.args.get("v")
    # Only the true hash: under another version, today's file would be kept for tomorrow's.
    versioned = version is not None and path is not None and version == content_version(path)
    response = send_from_directory(folder, filename, max_age=_YEAR if versioned else None)
    if versioned:
        response.cache_control.public = public
        response.cache_control.immutable = True
    if not public:  # a cache between us and the visitor knows no guard
        response.cache_control.public = False
        response.cache_control.private = True
    return response
