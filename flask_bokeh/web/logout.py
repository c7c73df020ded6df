"""Logouts of Flask-Login: revoke the user's tokens, then close the user's sessions."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, after_this_request

from ..errors import FlaskBokehError
from ..state import AppState
from .auth import load_user

__all__ = ("follow_logouts",)

logger = logging.getLogger("flask_bokeh")


def follow_logouts(app: Flask) -> None:
    """Close a user's sessions whenever Flask-Login logs the user out, if it is installed."""
    try:
        from flask_login import user_logged_out
    except ImportError:  # not installed, or incompatible with this Flask version
        return
    user_logged_out.connect(_on_logout, app)


def _on_logout(app: Flask, user: Any = None, **_: Any) -> None:
    state: AppState = app.extensions["bokeh"]
    # A loader of the site that reads the cookie session returns None by now.
    name = load_user(state.registrations) or (user is not None and user.get_id())
    if name:
        _Logout(state, str(name)).start()


class _Logout:
    """One logout, in the order of its steps."""

    def __init__(self, state: AppState, user: str) -> None:
        self._state = state
        self._user = user
        self._revoked_at = 0.0

    def start(self) -> None:
        """Revoke the tokens at once, and close the sessions after the response."""
        self._revoked_at = self._state.authorizer.revoke_tokens(self._user)
        after_this_request(self._close_sessions_later)

    def _close_sessions_later(self, response: Response) -> Response:
        # Pages reconnect as soon as their sessions close, so the browser must know of the logout.
        response.call_on_close(self._close_sessions_in_background)
        return response

    def _close_sessions_in_background(self) -> None:
        # It may have to wait for other workers, while some servers are here on their own loop.
        self._state.background.run(self._close_sessions)

    def _close_sessions(self) -> None:
        try:
            self._state.closer.close(self._user, self._revoked_at)
        except Exception as error:  # no caller would see it
            is_unexpected = not isinstance(error, FlaskBokehError)
            logger.warning("Sessions may outlive a logout: %s", error, exc_info=is_unexpected)
