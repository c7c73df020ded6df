"""Bokeh callbacks that use the database."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import current_app

__all__ = ("in_app_context",)

F = TypeVar("F", bound=Callable[..., Any])


def in_app_context(callback: F) -> F:
    """Run a Bokeh callback in an application context of its own.

    Bokeh calls callbacks outside of Flask, where ``db.session`` is not available. The session ends
    with the context, so its connection goes back to the pool after each call, also after an
    exception. Use it inside an application or a hook: those run in a context already, and this
    decorator takes the Flask application from there.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    @wraps(callback)
    def run(*args: Any) -> Any:
        with app.app_context():
            return callback(*args)

    return run  # type: ignore[return-value]
