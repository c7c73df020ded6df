"""Authorize WebSockets at the Bokeh server itself, those on its own port included."""

from __future__ import annotations

import time

from bokeh.util.token import get_token_payload

from ..bokeh_api import SocketAccess
from ..errors import HandoffError, LimitError, SessionEndedError, TokenError
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
        :raises HandoffError: if the WebSocket is refused.
        """
        try:
            token = self._tokens.read(encoded)
            if get_token_payload(encoded)["session_expiry"] <= time.time():
                raise HandoffError("The session token has expired.", 403)
            self._limits.reserve(token, Principal(address=address))
        except TokenError as error:
            raise HandoffError(str(error), 403) from error
        except SessionEndedError as error:
            raise HandoffError(str(error), 410) from error
        except LimitError as error:
            raise HandoffError(str(error), 503, public=str(error)) from error
        return SocketAccess(user=token.visit.user, subject=token.subject or token.visit.session_id)
