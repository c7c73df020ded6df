"""The state of the current Flask application."""

from __future__ import annotations

from flask import current_app

from ..errors import NotInitializedError
from ..state import AppState

__all__ = ("current_state",)


def current_state() -> AppState:
    """Return flask_bokeh's state of the current application, in an application context.

    :raises NotInitializedError: if ``init_app`` was not called for it.
    """
    state = current_app.extensions.get("bokeh")
    if not isinstance(state, AppState):
        raise NotInitializedError()
    return state
