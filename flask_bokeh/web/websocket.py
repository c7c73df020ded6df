"""WebSocket upgrade requests: check them, then hijack the client's socket for the Bokeh server."""

from __future__ import annotations

import logging
from contextlib import closing

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from ..applications.registry import Registration
from ..errors import HandoffError, LimitError, ServerStoppedError, SessionEndedError, TokenError
from ..hijack.adapters import hijack
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import Upgrade, request_head
from ..security.principal import Principal
from ..security.tokens import Token
from ..state import BokehState
from ..workers.sender import WorkerChannel
from .origin import origin_is_allowed, own_origin
from .request import asked_application

logger = logging.getLogger("flask_bokeh")


_PROTOCOL = "Sec-WebSocket-Protocol"


class _Views:
    def __init__(self, state: BokehState) -> None:
        self._state = state

    def websocket(self, application: str = "") -> Response:
        """Judge an upgrade request, then hand the client's socket to the Bokeh server."""
        registration = asked_application(self._state, application)
        path, principal = registration.path, self._state.site.principal()
        try:
            token = self._admit(registration, self._offered_token(), principal)
            client = self._hand_over(self._state.tokens.renew(token), principal)
        except HandoffError as error:
            logger.warning("Refused a WebSocket of %s to %s: %s", path, principal, error)
            return _refusal(error)
        except HTTPException as error:
            status = error.code or error.get_response().status_code
            logger.warning(
                "Refused a WebSocket of %s to %s: a guard said %d", path, principal, status
            )
            raise
        # Nobody reads this answer but the WSGI server's access log: Tornado sends the real one.
        response = Response(status=101)
        response.call_on_close(client.release_wsgi_server)
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
            principal = self._state.site.principal()
            token = self._admit(registration, text, principal)
            if self._state.settings.transport == "port" and self._state.tokens.expired(token):
                raise HandoffError("The session token has expired, and a port renews none.", 410)
            channel = self._state.find_owner(token)
            if channel is not None:
                channel.close()
            else:
                self._open(token, principal, only_ask=True)
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

    def _admit(self, registration: Registration, text: str, principal: Principal) -> Token:
        """:raises HandoffError: with the reason why who has this token may not come in.
        :raises HTTPException: if a guard refuses.
        """
        try:
            return self._state.authorize(registration.path, text, principal)
        except TokenError as error:
            raise HandoffError(str(error), 403) from error
        except SessionEndedError as error:
            raise HandoffError(str(error), 410) from error

    def _open(self, token: Token, principal: Principal, *, only_ask: bool = False) -> bool:
        """Take a reservation for a session of this process; whether it is a new one.

        :raises HandoffError: with the reason why there is none.
        """
        try:
            return self._state.server().limits.reserve(token, principal, only_ask=only_ask)
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

    def _hand_over(self, token: Token, principal: Principal) -> HijackedConnection:
        """Take the client out of the WSGI server, and give it to whoever holds the session.

        If anything is raised, the client is still the WSGI server's, or has been hung up.

        :raises HandoffError: if the client can't be had, or the session has gone.
        """
        path = token.visit.path
        upgrade = Upgrade(
            head=request_head(f"{path.rstrip('/')}/ws", request.environ, token.encoded),
            address=(request.remote_addr or "", int(request.environ.get("REMOTE_PORT") or 0)),
            session_id=token.visit.session_id,
        )
        channel = self._state.find_owner(token)
        if channel is not None:
            try:
                client = hijack(request.environ, across_processes=True)
            except BaseException as error:
                channel.close()
                if token.pulled or not isinstance(error, HandoffError):
                    raise  # others are created again, here
            else:
                _pass_on(client, channel, upgrade, path)
                return client
        server = self._state.server()
        new = self._open(token, principal)
        try:
            client = hijack(request.environ)
            try:
                server.adopt(client, upgrade)
            except BaseException:
                client.restore()
                raise
        except BaseException as error:
            if new:
                server.limits.release(token.visit.session_id)
            if isinstance(error, ServerStoppedError):
                raise HandoffError("The Bokeh server of this process is stopping.", 503) from error
            raise
        return client


def _pass_on(
    client: HijackedConnection, channel: WorkerChannel, upgrade: Upgrade, path: str
) -> None:
    with closing(client):
        assert client.descriptor is not None  # it was taken to be passed on
        try:
            channel.send(client.descriptor, upgrade)
        except HandoffError as error:
            logger.warning("Lost a WebSocket of %s: %s", path, error)
        except BaseException:
            client.release_wsgi_server()
            raise


def _refusal(error: HandoffError) -> Response:
    text = str(error) if current_app.debug else error.public
    response = Response(f"{text}\n", error.status, mimetype="text/plain")
    response.headers["Cache-Control"] = "no-store"
    return response
