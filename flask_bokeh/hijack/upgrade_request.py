"""The upgrade request that Tornado reads in place of the client's own, built from an allow-list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ..errors import HandoffError

__all__ = ("FORWARDED_HEADERS", "VISIBLE_HEADERS", "UpgradeRequest", "request_head")

VISIBLE_HEADERS = ("Host", "Cookie", "User-Agent", "Accept-Language")
"""Headers of a client that Bokeh applications see. Cookie is for applications and auth modules
that read it."""

FORWARDED_HEADERS = (
    *VISIBLE_HEADERS,
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
)
"""Headers of a client that its upgrade request keeps. Origin is not among them: Flask has checked
it, because only Flask knows the site's own origin."""

_FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")

_TARGET = re.compile(r"/[A-Za-z0-9._~/-]*")

_MAX_HEAD = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """A client's request for a WebSocket, as a Bokeh server gets it."""

    head: bytes = field(repr=False)
    """Head of the request, from :func:`request_head`. It contains a session token."""

    address: tuple[str, int]
    """Address and port of the client."""

    session_id: str = field(repr=False)
    """ID of the session that the WebSocket is for."""


def request_head(target: str, environ: Mapping[str, Any], token: str) -> bytes:
    """Build the head of the upgrade request that goes to Tornado.

    :param target: path on the Bokeh server, made from the matched route.
    :param environ: WSGI environ of the client's request; only :data:`FORWARDED_HEADERS` are used.
    :param token: session token, which replaces the client's.
    :raises HandoffError: if a header contains a control character, or if the head exceeds 32 KB.
    """
    if not _TARGET.fullmatch(target):
        raise HandoffError(
            f"The path {target!r} can't be an application's.", HTTPStatus.BAD_REQUEST
        )
    lines = [f"GET {target} HTTP/1.1"]
    for name in FORWARDED_HEADERS:
        value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        if value is None:
            continue
        if not isinstance(value, str) or _FORBIDDEN.search(value):
            raise HandoffError(
                f"The header {name} contains a character that no header may contain.",
                HTTPStatus.BAD_REQUEST,
            )
        lines.append(f"{name}: {value.strip()}")
    lines += [
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Protocol: bokeh, {token}",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode("latin-1")
    if len(head) > _MAX_HEAD:
        raise HandoffError(
            f"The headers take more than {_MAX_HEAD} bytes.",
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        )
    return head
