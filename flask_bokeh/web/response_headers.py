"""Security headers of our own responses, and ``Cache-Control: no-store``.

A site often adds security headers in ``after_request``, where a response has none yet. So ours
are added after that: Flask sends ``request_finished`` after all ``after_request`` functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flask import Response

from .request_state import request_state

__all__ = ("add_security_headers", "allow_frames", "forbid_storing", "mark_as_ours")

_POLICY = "Content-Security-Policy"
_FRAME_ANCESTORS = re.compile(r"(^|[;,])\s*frame-ancestors\b", re.IGNORECASE)


def forbid_storing(response: Response) -> Response:
    """Add ``Cache-Control: no-store``: the response is for one visitor and for now."""
    response.headers["Cache-Control"] = "no-store"
    return response


def mark_as_ours(response: Response) -> Response:
    """Mark the response of this request as one of our blueprint's."""
    request_state().is_ours = True
    return response


def allow_frames(origins: Iterable[str]) -> None:
    """Let pages of this site and of others frame the page of this request.

    A ``frame-ancestors`` policy of the site takes precedence.

    :param origins: the origins of the other sites.
    """
    request_state().frame_ancestors = " ".join(("frame-ancestors 'self'", *origins))


def add_security_headers(_: object, *, response: Response, **__: Any) -> None:
    """Add missing headers to a response of ours. A receiver of ``request_finished``."""
    state = request_state()
    if not state.is_ours:
        return
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if state.frame_ancestors is not None:
        _add_frame_ancestors(response, state.frame_ancestors)


def _add_frame_ancestors(response: Response, directive: str) -> None:
    policies = [policy.strip(" ;") for policy in response.headers.getlist(_POLICY)]
    has_ancestors = any(map(_FRAME_ANCESTORS.search, policies))
    # Browsers ignore X-Frame-Options next to frame-ancestors, so ours would weaken "deny".
    if has_ancestors or response.headers.get("X-Frame-Options", "").strip().lower() == "deny":
        return
    # Policies are separated by commas, and all of them apply.
    combined = ", ".join(filter(None, policies))
    response.headers[_POLICY] = f"{combined}; {directive}" if combined else directive
