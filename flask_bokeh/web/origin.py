"""The origin check: which pages may open a WebSocket or load a script.

Pages of this site may, and those of the origins in ``BOKEH_ALLOW_WS_ORIGIN``. Origins are equal if
scheme, host and port are (RFC 6454).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from flask import request

from ..settings import Settings

__all__ = ("is_own_origin", "origin_allowed", "origin_is_allowed", "own_origin")

_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^\s/\\?#@:\[\]]+)(?::(\d{1,5}))?", re.ASCII)

_DEFAULT_PORT = {"http": "80", "https": "443"}


def own_origin() -> str:
    """Return the site's origin as the client sees it."""
    # Not from Flask's host_url, which raises for a malformed Host.
    return f"{request.scheme}://{request.host}"


def is_own_origin(origin: str) -> bool:
    """Return whether this is the site's origin, with or without the default port."""
    return origin_allowed(origin, own_origin(), (), allow_missing=False)


def origin_is_allowed(settings: Settings, origin: str | None) -> bool:
    """Return whether the settings allow a page of this origin to open a WebSocket."""
    return origin_allowed(
        origin,
        own_origin(),
        settings.allow_ws_origin,
        allow_missing=settings.allow_missing_origin,
    )


def origin_allowed(
    origin: str | None, own: str, allowed: Iterable[str], *, allow_missing: bool
) -> bool:
    """Return whether a page of an origin may open a WebSocket.

    :param origin: the request's ``Origin``; None if the client sent none.
    :param own: the site's origin, such as ``https://example.org``.
    :param allowed: other origins; an entry without a scheme means both http and https.
    :param allow_missing: the result for a request without ``Origin``.
    """
    if origin is None:
        return allow_missing
    parsed = _parse(origin)
    if parsed is None:
        return False
    if parsed == _parse(own):
        return True
    return any(parsed in _entries(entry) for entry in allowed)


def _entries(entry: str) -> list[tuple[str, str, str] | None]:
    if "://" in entry:
        return [_parse(entry)]
    return [_parse(f"{scheme}://{entry}") for scheme in _DEFAULT_PORT]


def _parse(origin: str) -> tuple[str, str, str] | None:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    return scheme, host, str(int(port or _DEFAULT_PORT[scheme]))
