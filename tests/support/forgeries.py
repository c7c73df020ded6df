"""Tokens made with the key of a site, and forged ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import zlib
from collections.abc import Callable
from typing import Any

from bokeh.util.token import generate_jwt_token, generate_session_id

from flask_bokeh.security.keys import derive_key
from flask_bokeh.security.tokens import TokenIssuer

from .visitors import Visitor

SECRET = "a secret key for the tests only"
KEY = derive_key(SECRET)
ISSUER = TokenIssuer(keys=(KEY,), expiration=300, max_age=86_400, max_arguments_size=2048)


def token_like(visitor: Visitor, **changes: object) -> str:
    """Return a token made with the key, like the visitor's except for some changes."""
    known = ISSUER.read(visitor.token())
    values: dict[str, Any] = {
        "session_id": known.visit.session_id,
        "secret_key": KEY,
        "signed": True,
        "extra_payload": {
            "arguments": {},
            "flask_bokeh": {
                "path": "/open",
                "user": None,
                "issued": known.issued_at,
                "bound": known.subject,
            },
        },
        **changes,
    }
    return generate_jwt_token(**values)


def resigned(body: bytes) -> str:
    """Return a body with a valid signature."""
    base = base64.urlsafe_b64encode(body).decode().rstrip("=")
    signature = hmac.new(KEY, base.encode(), hashlib.sha256).digest()
    return f"{base}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def zipped(data: bytes) -> bytes:
    """Return the body of a token whose payload Bokeh decompresses."""
    squeezed = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return json.dumps(
        {"session_id": generate_session_id(KEY, True), "__bk__zlib_": squeezed}
    ).encode()


def with_issued(visitor: Visitor, issued: object) -> str:
    """Return a token like the visitor's, but issued at another time."""
    known = ISSUER.read(visitor.token())
    ours = {"path": "/open", "user": None, "issued": issued, "bound": known.subject}
    return token_like(visitor, extra_payload={"arguments": {}, "flask_bokeh": ours})


def changed(visitor: Visitor, name: str, values: dict[str, object]) -> str:
    """Return a token with changed values, packed by Bokeh, and its earlier signature."""
    text = visitor.token("/show/open?owner=x")
    known = ISSUER.read(text)
    ours = {"path": "/open", "user": None, "issued": known.issued_at, "bound": known.subject}
    payload: dict[str, dict[str, Any]] = {"arguments": {"owner": ["x"]}, "flask_bokeh": ours}
    payload[name] = {**payload[name], **values}
    other = token_like(visitor, session_id=known.visit.session_id, extra_payload=payload)
    return f"{other.split('.')[0]}.{text.split('.')[1]}"


def swapped(visitor: Visitor) -> str:
    """Return a token with the session of another one, and its earlier signature."""
    body, signature = visitor.token().split(".")
    other = ISSUER.read(visitor.token()).visit.session_id
    data = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    data["session_id"] = other
    changed = base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    return f"{changed}.{signature}"


BAD_TOKENS: dict[str, Callable[[Visitor], str]] = {
    "unsigned": lambda v: generate_jwt_token(generate_session_id(None, False), None, False),
    "unsigned, with our payload": lambda v: token_like(v, signed=False),
    "only a body": lambda v: v.token().split(".")[0],
    "another key": lambda v: token_like(v, secret_key=b"another key entirely"),
    "the site's own key": lambda v: token_like(v, secret_key=SECRET.encode()),
    "an empty key": lambda v: token_like(v, secret_key=b""),
    "another session id": swapped,
    "an id signed with another key": lambda v: token_like(
        v, session_id=generate_session_id(b"another key", True)
    ),
    "an id that a client chose": lambda v: token_like(v, session_id="chosen"),
    "not minted by us": lambda v: generate_jwt_token(generate_session_id(KEY, True), KEY, True),
    "too old": lambda v: with_issued(v, time.time() - 86_500),
    "issued at NaN": lambda v: with_issued(v, float("nan")),
    "issued at a text": lambda v: with_issued(v, "soon"),
    "a changed argument": lambda v: changed(v, "arguments", {"owner": ["bob"]}),
    "a changed user": lambda v: changed(v, "flask_bokeh", {"path": "/open", "user": "bob"}),
    "a changed letter": lambda v: re.sub(r"^(.{40}).", r"\1A", v.token("/show/open?owner=x")),
    "a truncated zlib stream": lambda v: resigned(zipped(zlib.compress(b"{}" * 99)[:-9])),
    "a zip bomb": lambda v: resigned(zipped(zlib.compress(b"0" * 10**6)))[:-3] + "AAA",
    "no JSON": lambda v: resigned(b"no JSON"),
    "not UTF-8": lambda v: resigned(b"\xff\xfe\x00"),
    "bytes that are not UTF-8": lambda v: "\xff\xfe.\xff",
    "deep JSON": lambda v: resigned(b"[" * 4000),
    "empty": lambda v: "",
    "a dot": lambda v: ".",
    "two tokens": lambda v: f"{v.token()}, {v.token()}",
    "a session id for a token": lambda v: ISSUER.read(v.token()).visit.session_id,
    "of a session in another worker": lambda v: token_like(
        v,
        extra_payload={
            "arguments": {},
            "flask_bokeh": {
                "path": "/other",
                "user": None,
                "issued": time.time(),
                "worker": "../../../tmp/x",
            },
        },
    ),
}
