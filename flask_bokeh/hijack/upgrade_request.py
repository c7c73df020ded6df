"""The upgrade request that goes to Tornado with a client's socket, rebuilt from an allow-list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import HandoffError

__all__ = ("Upgrade", "request_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What a Bokeh server needs to know of a client."""

    head: bytes = field(repr=False)
    """The rebuilt head of the request; there is a token in it."""

    address: tuple[str, int]
    """The client's."""

    session_id: str = field(repr=False)
    """The session that it is for."""


# Everything else a client sends stays outside. Origin has been judged by Flask, which knows
# the site's own; Cookie is there for applications and auth modules that read it.
_FORWARDED = (
    "Host",
    "Cookie",
    "User-Agent",
    "Accept-Language",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
)

_FORBIDDEN = re.compile(r"[^\t\x20-\x7e\x80-\xff]")

_TARGET = re.compile(r"/[A-Za-z0-9._~/-]*")

_MAX_HEAD = 32 * 1024


def request_head(target: str, environ: Mapping[str, Any], token: str) -> bytes:
    """Rebuild the head of an upgrade request: what goes to Tornado instead of the client's.

    :param target: the path on the Bokeh server, made from the matched route.
    :param environ: the WSGI environ; only an allow-list of its headers is used.
    :param token: the session token, which replaces the client's.
    :raises HandoffError: if a header could end a line, or the head grows over 32 KB.
    """
    if not _TARGET.fullmatch(target):
        raise HandoffError(f"The path {target!r} can't be an application's.", 400)
    lines = [f"GET {target} HTTP/1.1"]
    for name in _FORWARDED:
        value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        if value is None:
            continue
        if not isinstance(value, str) or _FORBIDDEN.search(value):
            raise HandoffError(f"The header {name} holds a character that no header may hold.", 400)
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
        raise HandoffError(f"The headers take more than {_MAX_HEAD} bytes.", 431)
    return head
