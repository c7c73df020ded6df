"""Responses that refuse a WebSocket: status, text and headers; and their log lines."""

from __future__ import annotations

import logging

from flask import Response, current_app
from werkzeug.exceptions import HTTPException

from ..errors import LimitError, RefusedError
from ..security.principal import Principal
from .response_headers import forbid_storing

__all__ = ("log_refusal", "refusal")

logger = logging.getLogger("flask_bokeh")


def refusal(error: RefusedError) -> Response:
    """Return the response to a refused client; it contains the reason in debug mode only."""
    text = str(error) if current_app.debug else error.public
    return forbid_storing(Response(f"{text}\n", error.status, mimetype="text/plain"))


def log_refusal(path: str, principal: Principal, error: RefusedError | HTTPException) -> None:
    """Log the reason why a principal gets no WebSocket of an application."""
    reason = str(error)
    if isinstance(error, LimitError):
        reason = f"{error.setting} is {error.limit}."
    elif isinstance(error, HTTPException):
        reason = f"a guard said {error.code or error.get_response().status_code}"
    logger.warning("Refused a WebSocket of %s to %s: %s", path, principal, reason)
