"""The status of a session: whether its WebSocket would be accepted, and why not.

Browsers hide from a page why its WebSocket was refused, so our script requests it here.
"""

from __future__ import annotations

import logging

from flask import Response, request

from ..errors import HandoffError, LimitError, RefusedError
from ..state import AppState
from .refusals import log_refusal, refusal
from .requested_application import requested_application
from .response_headers import forbid_storing

__all__ = ("SessionStatusView",)

logger = logging.getLogger("flask_bokeh")


class SessionStatusView:
    """The view of a WebSocket's URL for ordinary requests."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def status(self, application: str = "") -> Response:
        """Return 204 if a WebSocket with the token in the request would be accepted."""
        path = requested_application(self._state, application).path
        encoded = request.headers.get("Bokeh-Session-Token")
        if encoded is None:
            return refusal(_no_token())
        try:
            self._check(path, encoded)
        except RefusedError as error:
            return refusal(error)
        return forbid_storing(Response(status=204))

    def _check(self, path: str, encoded: str) -> None:
        """:raises RefusedError: if the Bokeh server would not accept a WebSocket with the token."""
        state, principal = self._state, self._state.integration.identify()
        token = state.authorizer.authorize(path, encoded, principal)
        if state.settings.transport == "port" and state.authorizer.tokens.is_expired(token):
            raise HandoffError("The session token has expired, and a port renews none.", 410)
        channel = state.router.find_owner(token)
        if channel is not None:
            channel.close()
            return
        try:
            state.servers.get().check(token, principal)
        except LimitError as error:
            log_refusal(path, principal, error)
            raise


def _no_token() -> HandoffError:
    # Not 426, which needs a header Upgrade: WSGI forbids that header, and waitress refuses it.
    if "Sec-WebSocket-Key" not in request.headers:
        text = "This URL only accepts WebSocket upgrade requests."
        return HandoffError(text, 400, public=text)
    error = HandoffError(
        "A browser asks for a WebSocket, and a proxy in front leaves out its header Upgrade: "
        "compare its configuration with what 'flask bokeh nginx' prints.",
        400,
    )
    logger.warning("No WebSocket: %s", error)
    return error
