"""Authorize WebSockets at the Bokeh server itself, those on its own port included."""

from __future__ import annotations

import time

from bokeh.util.token import get_token_payload

from ..bokeh_api import SocketAccess
from ..errors import TokenError
from ..security.limits import Limits
from ..security.principal import Principal
from ..security.tokens import TokenIssuer

__all__ = ("PortAuthorizer",)


class PortAuthorizer:
    """Decides which WebSockets the Bokeh server accepts. For the loop's thread.

    WebSockets on Flask's port have been authorized by a view before, and have a reservation. Those
    on the server's own port get theirs here.
    """

    def __init__(self, limits: Limits, tokens: TokenIssuer) -> None:
        self._limits = limits
        self._tokens = tokens

    def __call__(self, encoded: str, address: str | None) -> SocketAccess:
        """Authorize a WebSocket.

        :param encoded: the token that the client sent.
        :param address: the client's address; None if it is unknown.
        :raises RefusedError: if the WebSocket is refused.
        """
        token = self._tokens.read(encoded)
        if get_token_payload(encoded)["session_expiry"] <= time.time():
            raise TokenError("The session token has expired.")
        self._limits.reserve(token, Principal(address=address))
        return SocketAccess(user=token.visit.user, subject=token.subject or token.visit.session_id)
