"""The blueprint: static files, the WebSocket, and pages of applications that want one.

Everything a browser asks of a plot comes through here, so this is where access is decided.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from flask import Blueprint, Response, abort, current_app, jsonify, request, send_from_directory

from .. import embed
from ..errors import HandoffError, TokenError, UnknownApplicationError
from ..registry import Registration
from ..server import InProcessServer
from ..state import BokehState
from ..templating import application_url, mark_token, root_url
from ..tokens import Token
from .handoff import request_head
from .origin import origin_allowed
from .servers import take

__all__ = ("make_blueprint", "visible_headers")

logger = logging.getLogger("flask_bokeh")

_YEAR = 31_536_000
_ELEMENT_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_VISIBLE_HEADERS = ("Host", "Cookie", "User-Agent", "Accept-Language")


def make_blueprint(state: BokehState, template_folder: str) -> Blueprint:
    """The blueprint of one Flask application."""
    blueprint = Blueprint("bokeh", __name__, template_folder=template_folder)
    views = _Views(state)
    rule = blueprint.add_url_rule
    rule("/static/<path:filename>", "static", views.static)
    rule("/static/extensions/<name>/<path:filename>", "extension_static", views.extension_static)
    rule("/<path:application>/static/<path:filename>", "app_static", views.application_static)
    for prefix in ("", "/<path:application>"):
        # Werkzeug tells WebSocket requests from others by the rule, so there are two.
        rule(f"{prefix}/ws", "websocket", views.websocket, methods=["GET"], websocket=True)
        rule(f"{prefix}/ws", "not_a_websocket", views.not_a_websocket)
        rule(f"{prefix}/autoload.js", "autoload", views.autoload)
        rule(f"{prefix}/metadata", "metadata", views.metadata)
        rule(prefix or "/", "page", views.page)
    return blueprint


def visible_headers() -> Mapping[str, str]:
    """The request's headers that an application may see: those that a hand-over keeps, too."""
    return {name: value for name in _VISIBLE_HEADERS if (value := request.headers.get(name))}


class _Views:
    def __init__(self, state: BokehState) -> None:
        self._state = state

    def websocket(self, application: str = "") -> Response:
        """Judge an upgrade request, then hand the client's socket to the Bokeh server."""
        registration = self._registration(application)
        try:
            server, token = self._admit(registration)
            target = f"{registration.path.rstrip('/')}/ws"
            head = request_head(target, request.environ, token.text)
            client = take(request.environ)
        except _Refused as refused:
            return self._refuse(registration.path, str(refused), refused.status)
        except HandoffError as error:
            return self._refuse(registration.path, str(error), error.status)
        # Nobody reads this answer but the WSGI server's access log: Tornado sends the real one.
        response = Response(status=101)
        response.call_on_close(client.finish)
        address = (request.remote_addr or "", int(request.environ.get("REMOTE_PORT") or 0))
        server.adopt(client, head, address)
        return response

    def not_a_websocket(self, application: str = "") -> Response:
        """Somebody opened the WebSocket's address as a page."""
        self._registration(application)
        # 426 wants a header Upgrade, which WSGI forbids (PEP 3333) and waitress refuses.
        return Response("A WebSocket is opened here.\n", 400, mimetype="text/plain")

    def static(self, filename: str) -> Response:
        """A file of BokehJS."""
        return _send(embed.static_folder(), filename)

    def extension_static(self, name: str, filename: str) -> Response:
        """A file of a Bokeh extension, such as Panel."""
        return _send(embed.static_folder(name), filename)

    def application_static(self, application: str, filename: str) -> Response:
        """A file from the ``static`` folder of a directory application."""
        registration = self._registration(application)
        folder = self._state.server().context(registration.path).application.static_path
        return _send(folder, filename)

    def page(self, application: str = "") -> Response:
        """The page of an application that was registered with ``page=True``."""
        registration = self._public(application)
        server = self._state.server()
        token = self._new_token(registration, request.args.to_dict())

        settings, root, headers = (
            self._state.settings,
            root_url(self._state.settings),
            visible_headers(),
        )

        async def render() -> str:
            return embed.page(settings, await server.create_session(token, headers), root)

        html = server.loop.call(
            render,
            what=f"the page of {registration.path}",
            timeout=settings.pull_timeout,
        )
        return Response(html, mimetype="text/html")

    def autoload(self, application: str = "") -> Response:
        """The script that Bokeh's own ``server_document`` asks for."""
        registration = self._public(application)
        settings = self._state.settings
        origin = request.headers.get("Origin")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and (
            origin is None or not self._origin_allowed(origin)
        ):
            abort(403, "This site's plots can't be embedded there; see BOKEH_ALLOW_WS_ORIGIN.")
        element_id = request.args.get("bokeh-autoload-element", "")
        if not _ELEMENT_ID.fullmatch(element_id):
            abort(400, "bokeh-autoload-element must be the id of an element.")
        arguments = {
            name: value
            for name, value in request.args.items()
            if not name.startswith("bokeh-") and name != "resources"
        }
        host = embed.url_path(_own_origin())
        script = embed.autoload_script(
            settings,
            self._new_token(registration, arguments).text,
            element_id,
            app_url=application_url(settings, registration.path),
            server_url=host,
            root_url=host + root_url(settings),
            resources=request.args.get("resources") != "none",
        )
        response = Response(script, mimetype="application/javascript")
        response.vary.add("Origin")
        if origin is not None and self._origin_allowed(origin):
            response.access_control_allow_origin = origin
            response.access_control_allow_credentials = True
        return response

    def metadata(self, application: str = "") -> Response:
        """What the application says of itself."""
        registration = self._public(application)
        metadata = self._state.server().context(registration.path).application.metadata
        data = metadata() if callable(metadata) else metadata
        return jsonify(url=registration.path, data=data or {})

    def _admit(self, registration: Registration) -> tuple[InProcessServer, Token]:
        """Decide whether an upgrade may go on. Guards and users come in here."""
        origin = request.headers.get("Origin")
        if not self._origin_allowed(origin):
            raise _Refused(
                f"the Origin {origin!r} is not {_own_origin()!r}. Behind a proxy, "
                "use werkzeug's ProxyFix; for another site, set BOKEH_ALLOW_WS_ORIGIN",
                403,
            )
        protocols = [part.strip() for part in request.headers.get(_PROTOCOL, "").split(",")]
        if len(protocols) != 2 or protocols[0] != "bokeh":
            raise _Refused("it offers no Bokeh session token", 403)
        try:
            token = self._state.tokens.read(protocols[1])
        except TokenError as error:
            raise _Refused(str(error), 403) from error
        if token.visit.path != registration.path:
            raise _Refused("the session token is of another application", 403)
        server = self._state.server()
        if token.worker is not None and server.find_session(token) is None:
            raise _Refused("the pulled session has ended, or lives in another process", 410)
        return server, self._state.tokens.renew(token)

    def _origin_allowed(self, origin: str | None) -> bool:
        settings = self._state.settings
        return origin_allowed(
            origin,
            _own_origin(),
            settings.allow_ws_origin,
            allow_missing=settings.allow_missing_origin,
        )

    def _refuse(self, path: str, reason: str, status: int) -> Response:
        logger.warning("Refused a WebSocket of %s: %s", path, reason)
        return Response(f"Refused: {reason}\n", status, mimetype="text/plain")

    def _registration(self, application: str) -> Registration:
        try:
            return self._state.applications.get(f"/{application}")
        except UnknownApplicationError:
            abort(404)

    def _public(self, application: str) -> Registration:
        registration = self._registration(application)
        if not registration.page:
            abort(
                404,
                f"The application {registration.path} has no page of its own. "
                "Embed it, or register it with page=True."
                if current_app.debug
                else None,
            )
        return registration

    def _new_token(self, registration: Registration, arguments: Mapping[str, str]) -> Token:
        mark_token()
        return self._state.new_token(
            registration.path, arguments=arguments, data=None, user=self._state.site.user()
        )


def _own_origin() -> str:
    """The site's origin as the client knows it. Flask's ``host_url`` raises for a bad Host."""
    return f"{request.scheme}://{request.host}"


_PROTOCOL = "Sec-WebSocket-Protocol"


class _Refused(Exception):
    def __init__(self, reason: str, status: int) -> None:
        self.status = status
        super().__init__(reason)


def _send(folder: str | None, filename: str) -> Response:
    if folder is None:
        abort(404)
    versioned = "v" in request.args
    response = send_from_directory(folder, filename, max_age=_YEAR if versioned else None)
    if versioned:
        response.cache_control.public = True
        response.cache_control.immutable = True
    return response
