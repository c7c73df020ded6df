"""The error box: HTML that is shown in the place of an application that failed."""

from __future__ import annotations

import logging
import secrets
import traceback

from flask import Flask, got_request_exception

from ..errors import ApplicationFailedError, ScriptError
from ..log_redaction import Lines, printable
from .browser_script import box_style
from .rendering import render

__all__ = ("report_failure",)

logger = logging.getLogger("flask_bokeh")


def report_failure(app: Flask, failure: ApplicationFailedError) -> str:
    """Log a failure, send ``got_request_exception``, and return the HTML of the error box.

    Works on any thread. Only with ``app.debug`` does the box contain the traceback.
    """
    reference = secrets.token_hex(4)
    cause = failure.__cause__ or failure
    detail = "".join(traceback.format_exception(cause))
    if isinstance(cause, ScriptError):
        detail = cause.detail
        logger.error("%s [reference %s]\n%s", printable(failure), reference, Lines(detail))
    else:
        logger.error("%s [reference %s]", printable(failure), reference, exc_info=cause)
    got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=cause)
    with app.app_context():
        return render(
            "error_box.html",
            box_style=box_style(),
            message=str(failure),
            reference=reference,
            detail=detail if app.debug else None,
        )
