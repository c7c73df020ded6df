"""A strict Content-Security-Policy: only scripts with this response's nonce run."""

from __future__ import annotations

import secrets

from flask import Response, g

__all__ = ("nonce", "send_policy")

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'nonce-{nonce}' 'strict-dynamic'",
        "style-src 'self' 'unsafe-inline'",  # BokehJS adds <style> elements
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    ]
)


def nonce() -> str:
    """Return the nonce of this request's scripts: the setting ``BOKEH_CSP_NONCE``."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def send_policy(response: Response) -> Response:
    """Add the policy to a response."""
    response.headers.setdefault("Content-Security-Policy", POLICY.format(nonce=nonce()))
    return response
