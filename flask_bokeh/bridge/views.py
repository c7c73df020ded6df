"""The blueprint: static files, the WebSocket, and pages of applications that want one.

Everything a browser asks of a plot comes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from ..errors import (
    HandoffError,
    LimitError,
    ServerStoppedError,
    SessionEndedError,
    TokenError,
)
from ..registry import Registration
from ..state import BokehState
from ..visits import Asker, Token
from .affinity import Passage
from .asked import asked_application, check_host, origin_is_allowed, own_origin
from .handoff import request_head
from .headers import mark_own
from .hosts import follow_hosts, rule_options
from .pages import Pages
from .servers import take
from .taking import TakenClient
from .upgrade import Upgrade

__all__ = ("make_blueprint",)

logger = logging.getLogger("flask_bokeh")

_PROTOCOL = "Sec-WebSocket-Protocol"


def make_blueprint(state: BokehState, app: Flask, template_folder: str) -> Blueprint:
    """The blueprint of one Flask application. Its name leaves ``bokeh`` to the site."""
    blueprint = Blueprint("flask_bokeh", __name__, template_folder=template_folder)
    views, pages = _Views(state), Pages(state)

    def rule(rule: str, endpoint: str, view: Callable[..., Response], **options: Any) -> None:
        for more in rule_options(app):
            blueprint.add_url_rule(rule, endpoint, view, **options, **more)

    rule("/static/flask_bokeh.js", "script", pages.script)
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
    blueprint.before_request(check_host)
    blueprint.after_request(mark_own)
    return blueprint


class _Views:
    def __init__(self, state: BokehState) -> None:
        self._state = state

    def websocket(self, application: str = "") -> Response:
        """Judge an upgrade request, then hand the client's socket to the Bokeh server."""
        registration = asked_application(self._state, application)
        path, asker = registration.path, self._state.site.asker()
        try:
            token = self._admit(registration, self._offered_token(), asker)
            client = self._hand_over(self._state.tokens.renew(token), asker)
        except HandoffError as error:
            logger.warning("Refused a WebSocket of %s to %s: %s", path, asker, error)
            return _refusal(error)
        except HTTPException as error:
            status = error.code or error.get_response().status_code
            logger.warning("Refused a WebSocket of %s to %s: a guard said %d", path, asker, status)
            raise
        # Nobody reads this answer but the WSGI server's access log: Tornado sends the real one.
        response = Response(status=101)
        response.call_on_close(client.finish)
        return response

    def session_state(self, application: str = "") -> Response:
        """Whether a WebSocket with this token would be let in: 204, or why not.

        A browser hides from a page why its WebSocket was refused, so the page asks here.
        """
        registration = asked_application(self._state, application)
        text = request.headers.get("Bokeh-Session-Token")
        try:
            if text is None:
                raise self._no_websocket()
            asker = self._state.site.asker()
            token = self._admit(registration, text, asker)
            if self._state.settings.transport == "port" and self._state.tokens.expired(token):
                raise HandoffError("The session token has expired, and a port renews none.", 410)
            passage = self._state.passage(token)
            if passage is not None:
                passage.close()
            else:
                self._open(token, asker, only_ask=True)
        except HandoffError as error:
            return _refusal(error)
        return Response(status=204, headers={"Cache-Control": "no-store"})

    @staticmethod
    def _no_websocket() -> HandoffError:
        # Not 426, which wants a header Upgrade: WSGI forbids it (PEP 3333), waitress refuses it.
        if "Sec-WebSocket-Key" not in request.headers:
            text = "A WebSocket is opened here."
            return HandoffError(text, 400, public=text)
        error = HandoffError(
            "A browser asks for a WebSocket, and a proxy in front leaves out its header Upgrade: "
            "compare its configuration with what 'flask bokeh nginx' prints.",
            400,
        )
        logger.warning("No WebSocket: %s", error)
        return error

    def _admit(self, registration: Registration, text: str, asker: Asker) -> Token:
        """:raises HandoffError: with the reason why who has this token may not come in.
        :raises HTTPException: if a guard refuses.
        """
        try:
            return self._state.admit(registration.path, text, asker)
        except TokenError as error:
            raise HandoffError(str(error), 403) from error
        except SessionEndedError as error:
            raise HandoffError(str(error), 410) from error

    def _open(self, token: Token, asker: Asker, *, only_ask: bool = False) -> bool:
        """Take a seat for a session of this process; whether it is a new one.

        :raises HandoffError: with the reason why there is none.
        """
        try:
            return self._state.server().limits.open(token, asker, only_ask=only_ask)
        except LimitError as error:
            logger.warning("%s is %s.", error.setting, error.limit)
            raise HandoffError(str(error), 503, public=str(error)) from error
        except SessionEndedError as error:
            raise HandoffError(str(error), 410) from error

    def _offered_token(self) -> str:
        """The token that a page of ours offers in its upgrade request.

        :raises HandoffError: if the page is of another site, or offers none.
        """
        origin = request.headers.get("Origin")
        if not origin_is_allowed(self._state.settings, origin):
            raise HandoffError(
                f"The Origin {origin!r} is not {own_origin()!r}. Behind a proxy, "
                "pass on the whole Host and use werkzeug's ProxyFix; for another site, set "
                "BOKEH_ALLOW_WS_ORIGIN.",
                403,
            )
        protocols = [part.strip() for part in request.headers.get(_PROTOCOL, "").split(",")]
        if len(protocols) != 2 or protocols[0] != "bokeh":
            raise HandoffError("It offers no Bokeh session token.", 403)
        return protocols[1]

    def _hand_over(self, token: Token, asker: Asker) -> TakenClient:
        """Take the client out of the WSGI server, and give it to whoever holds the session.

        If anything is raised, the client is still the WSGI server's, or has been hung up.

        :raises HandoffError: if the client can't be had, or the session has gone.
        """
        path = token.visit.path
        upgrade = Upgrade(
            head=request_head(f"{path.rstrip('/')}/ws", request.environ, token.text),
            address=(request.remote_addr or "", int(request.environ.get("REMOTE_PORT") or 0)),
            session_id=token.visit.session_id,
        )
        passage = self._state.passage(token)
        if passage is not None:
            try:
                client = take(request.environ, to_pass_on=True)
            except BaseException as error:
                passage.close()
                if token.pulled or not isinstance(error, HandoffError):
                    raise  # others are created again, here
            else:
                _pass_on(client, passage, upgrade, path)
                return client
        server = self._state.server()
        new = self._open(token, asker)
        try:
            client = take(request.environ)
            try:
                server.adopt(client, upgrade)
            except BaseException:
                client.put_back()
                raise
        except BaseException as error:
            if new:
                server.limits.leave(token.visit.session_id)
            if isinstance(error, ServerStoppedError):
                raise HandoffError("The Bokeh server of this process is stopping.", 503) from error
            raise
        return client


def _pass_on(client: TakenClient, passage: Passage, upgrade: Upgrade, path: str) -> None:
    with closing(client):
        assert client.descriptor is not None  # it was taken to be passed on
        try:
            passage.send(client.descriptor, upgrade)
        except HandoffError as error:
            logger.warning("Lost a WebSocket of %s: %s", path, error)
        except BaseException:
            client.finish()
            raise


def _refusal(error: HandoffError) -> Response:
    text = str(error) if current_app.debug else error.public
    response = Response(f"{text}\n", error.status, mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response
