"""WebSocket upgrade requests: check them, then pass the client's socket to the Bokeh server."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing

from flask import Response, request
from werkzeug.exceptions import HTTPException

from ..errors import HandoffError, RefusedError, ServerStoppedError
from ..hijack.adapters import hijack
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import UpgradeRequest, request_head
from ..security.principal import Principal
from ..security.tokens import Token
from ..state import AppState
from ..workers.sender import WorkerChannel
from .origin import origin_is_allowed, own_origin
from .refusals import log_refusal, refusal
from .requested_application import requested_application

__all__ = ("WebSocketView",)

logger = logging.getLogger("flask_bokeh")


class WebSocketView:
    """The view of WebSocket upgrade requests. Its methods are in the order of their calls."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def upgrade(self, application: str = "") -> Response:
        """Accept or refuse an upgrade request."""
        path = requested_application(self._state, application).path
        principal = self._state.integration.identify()
        try:
            self._check_origin()
            token = self._state.authorizer.authorize(path, _offered_token(), principal)
            client = self._connect(self._state.authorizer.tokens.renew(token), principal)
        except RefusedError as error:
            log_refusal(path, principal, error)
            return refusal(error)
        except HTTPException as error:
            log_refusal(path, principal, error)
            raise
        # Only the WSGI server's access log sees this response: Tornado sends the real one.
        response = Response(status=101)
        response.call_on_close(client.release_wsgi_server)
        return response

    def _check_origin(self) -> None:
        """:raises HandoffError: if a page of a site that is not allowed opens the WebSocket."""
        origin = request.headers.get("Origin")
        if not origin_is_allowed(self._state.settings, origin):
            raise HandoffError(
                f"The Origin {origin!r} is not {own_origin()!r}. Behind a proxy, "
                "pass on the whole Host and use werkzeug's ProxyFix; for another site, set "
                "BOKEH_ALLOW_WS_ORIGIN.",
                403,
            )

    def _connect(self, token: Token, principal: Principal) -> HijackedConnection:
        """Hijack the client's socket for the process that has the session or will create it.

        If an exception is raised, the WSGI server still has the socket, or it is closed.

        :raises RefusedError: if the socket can't be hijacked, the session is gone, or a limit is
            reached.
        """
        upgrade = _upgrade(token)
        channel = self._state.router.find_owner(token)
        if channel is not None:
            with closing(channel):
                if client := _pass_on(channel, upgrade, token):
                    return client
        return self._adopt(upgrade, token, principal)

    def _adopt(
        self, upgrade: UpgradeRequest, token: Token, principal: Principal
    ) -> HijackedConnection:
        """Serve the client in this process."""
        server = self._state.servers.get()
        with ExitStack() as undo:
            if server.reserve(token, principal):
                undo.callback(server.release, upgrade.session_id)
            client = hijack(request.environ)
            undo.callback(client.restore)
            try:
                server.adopt(client, upgrade)
            except ServerStoppedError as error:
                raise HandoffError("The Bokeh server of this process is stopping.", 503) from error
            undo.pop_all()  # it has succeeded
        return client


def _offered_token() -> str:
    """Return the token in ``Sec-WebSocket-Protocol``, which BokehJS sends as ``bokeh, <token>``.

    :raises HandoffError: if there is none.
    """
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    protocols = [part.strip() for part in header.split(",")]
    if len(protocols) != 2 or protocols[0] != "bokeh":
        raise HandoffError("It offers no Bokeh session token.", 403)
    return protocols[1]


def _upgrade(token: Token) -> UpgradeRequest:
    """Build the upgrade request for the Bokeh server.

    :raises HandoffError: if a header is malformed or too large.
    """
    environ, visit = request.environ, token.visit
    return UpgradeRequest(
        head=request_head(f"{visit.path.rstrip('/')}/ws", environ, token.encoded),
        address=(request.remote_addr or "", int(environ.get("REMOTE_PORT") or 0)),
        session_id=visit.session_id,
    )


def _pass_on(
    channel: WorkerChannel, upgrade: UpgradeRequest, token: Token
) -> HijackedConnection | None:
    """Pass the client on to the worker that has the session.

    :returns: None if that is not possible, but this process can create the session again.
    :raises HandoffError: if it is not possible, and the session was pulled.
    """
    try:
        client = hijack(request.environ, across_processes=True)
    except HandoffError:
        if token.pulled:
            raise
        return None
    try:
        channel.send(client, upgrade)
    except HandoffError as error:
        logger.warning("Lost a WebSocket of %s: %s", token.visit.path, error)
    except BaseException:
        client.release_wsgi_server()
        raise
    return client
