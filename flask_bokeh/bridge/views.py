"""The blueprint: static files, the WebSocket, and pages of applications that want one.

Everything a browser asks of a plot comes through here, so this is where access is decided.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial

from flask import Blueprint, Response, abort, current_app, jsonify, request, send_from_directory

from .. import embed
from ..errors import HandoffError, TokenError, UnknownApplicationError
from ..registry import Registration
from ..state import BokehState
from ..templating import application_url, mark_token, root_url
from ..tokens import Token
from .handoff import request_head
from .origin import origin_allowed
from .servers import take
from .taking import TakenClient

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
        rule(f"{prefix}/ws", "session_state", views.session_state)
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
            token = self._admit(registration, self._offered_token())
            client, give = self._take(token)
        except HandoffError as error:
            logger.warning("Refused a WebSocket of %s: %s", registration.path, error)
            return _refusal(error)
        give()
        # Nobody reads this answer but the WSGI server's access log: Tornado sends the real one.
        response = Response(status=101)
        response.call_on_close(client.finish)
        return response

    def session_state(self, application: str = "") -> Response:
        """Whether a WebSocket with this token would be let in: 204, or why not.

        A browser hides from a page why its WebSocket was refused, so the page asks here.
        """
        registration = self._registration(application)
        text = request.headers.get("Bokeh-Session-Token")
        if text is None:
            # 426 wants a header Upgrade, which WSGI forbids (PEP 3333) and waitress refuses.
            return Response("A WebSocket is opened here.\n", 400, mimetype="text/plain")
        try:
            passage = self._state.passage(self._admit(registration, text))
        except HandoffError as error:
            return _refusal(error)
        if passage is not None:
            passage.close()
        return Response(status=204, headers={"Cache-Control": "no-store"})

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

    def _admit(self, registration: Registration, text: str) -> Token:
        """Decide whether who has this token may come in. Guards and users come in here.

        :returns: the token, renewed.
        :raises HandoffError: with the reason.
        """
        try:
            token = self._state.tokens.read(text)
        except TokenError as error:
            raise HandoffError(str(error), 403) from error
        if token.visit.path != registration.path:
            raise HandoffError("The session token is of another application.", 403)
        return self._state.tokens.renew(token)

    def _offered_token(self) -> str:
        """The token that a page of ours offers in its upgrade request.

        :raises HandoffError: if the page is of another site, or offers none.
        """
        origin = request.headers.get("Origin")
        if not self._origin_allowed(origin):
            raise HandoffError(
                f"The Origin {origin!r} is not {_own_origin()!r}. Behind a proxy, "
                "use werkzeug's ProxyFix; for another site, set BOKEH_ALLOW_WS_ORIGIN.",
                403,
            )
        protocols = [part.strip() for part in request.headers.get(_PROTOCOL, "").split(",")]
        if len(protocols) != 2 or protocols[0] != "bokeh":
            raise HandoffError("It offers no Bokeh session token.", 403)
        return protocols[1]

    def _take(self, token: Token) -> tuple[TakenClient, Callable[[], None]]:
        """Take the client out of the WSGI server, for whoever holds the session.

        :returns: the client, and what gives it away; until then everything can be refused.
        :raises HandoffError: if the client can't be had, or the session has gone.
        """
        path = token.visit.path
        head = request_head(f"{path.rstrip('/')}/ws", request.environ, token.text)
        address = (request.remote_addr or "", int(request.environ.get("REMOTE_PORT") or 0))
        passage = self._state.passage(token)
        if passage is None:
            server = self._state.server()
            client = take(request.environ)
            return client, partial(server.adopt, client, head, address)
        try:
            client = take(request.environ, to_pass_on=True)
        except HandoffError:
            passage.close()
            raise

        def pass_on() -> None:
            with closing(client):
                assert client.descriptor is not None  # asked for above
                try:
                    passage.send(client.descriptor, head, address)
                except HandoffError as error:
                    logger.warning("Lost a WebSocket of %s: %s", path, error)

        return client, pass_on

    def _origin_allowed(self, origin: str | None) -> bool:
        settings = self._state.settings
        return origin_allowed(
            origin,
            _own_origin(),
            settings.allow_ws_origin,
            allow_missing=settings.allow_missing_origin,
        )

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


def _refusal(error: HandoffError) -> Response:
    response = Response(f"Refused: {error}\n", error.status, mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response


def _send(folder: str | None, filename: str) -> Response:
    if folder is None:
        abort(404)
    versioned = "v" in request.args
    response = send_from_directory(folder, filename, max_age=_YEAR if versioned else None)
    if versioned:
        response.cache_control.public = True
        response.cache_control.immutable = True
    return response
