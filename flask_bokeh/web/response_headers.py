"""Headers that our own responses get last, when the site has had its say.

The site sets policies of its own in ``after_request``, mostly where a response has none yet. So
ours wait until then: Flask sends ``request_finished`` when every ``after_request`` has run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flask import Response, request

__all__ = ("allow_frames", "complete", "mark_own")

_OWN = "flask_bokeh.own"
_FRAMES = "flask_bokeh.frames"
_POLICY = "Content-Security-Policy"
_HAS_ANCESTORS = re.compile(r"(^|[;,])\s*frame-ancestors\b", re.IGNORECASE)


def mark_own(response: Response) -> Response:
    """Mark the response of this request as one of ours."""
    request.environ[_OWN] = True
    return response


def allow_frames(origins: Iterable[str]) -> None:
    """Let this site and others frame the page of this request, unless the site says itself who may.

    :param origins: the others.
    """
    request.environ[_FRAMES] = " ".join(("frame-ancestors 'self'", *origins))


def complete(_: object, *, response: Response, **__: Any) -> None:
    """Add what is missing: a receiver of Flask's ``request_finished``."""
    if _OWN not in request.environ:
        return
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if frames := request.environ.get(_FRAMES):
        _add_ancestors(response, frames)


def _add_ancestors(response: Response, directive: str) -> None:
    policies = [policy.strip(" ;") for policy in response.headers.getlist(_POLICY)]
    said = any(map(_HAS_ANCESTORS.search, policies))
    # A browser that finds frame-ancestors does not look at this one, which may be stricter.
    if said or response.headers.get("X-Frame-Options", "").strip().lower() == "deny":
        return
    # A comma stands between two policies, each of which holds.
    whole = ", ".join(filter(None, policies))
    response.headers[_POLICY] = f"{whole}; {directive}" if whole else directive
