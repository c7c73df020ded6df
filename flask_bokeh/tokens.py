"""Session tokens: who visits which application, signed.

A token is one of Bokeh's own (``bokeh.util.token``), always signed, minted in Flask and
checked both here and by the Bokeh server. It holds a session id, a :class:`Visit`, and the
time it was issued; never a cookie, never a header. Bokeh evaluates the defaults for key and
signing when it is imported, so both are always passed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bokeh.util.token import (
    check_token_signature,
    generate_jwt_token,
    generate_session_id,
    get_session_id,
    get_token_payload,
)

from .errors import ArgumentsError, TokenError

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("Token", "TokenIssuer", "Visit", "derive_key", "visit")

# Bokeh's own name for a request's arguments in a token, so that applications that read
# doc.session_context.request.arguments find them there.
_ARGUMENTS = "arguments"
_OURS = "flask_bokeh"
# gunicorn and nginx refuse a header field over 8 KB, and a token travels in one.
MAX_TOKEN_LENGTH = 7_800
_TOKEN_ALPHABET = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who visits, and with what. Hooks get one; :func:`visit` finds it from any callback."""

    user: str | None
    """Who, as the site's ``user_loader`` says; None for nobody in particular."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    """The arguments of the embed or of ``pull_session``."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """The JSON values given as ``data``. A browser can read them, and can't change them."""

    path: str
    """The application's path."""

    session_id: str
    """The session's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says, once its signature has been checked."""

    text: str = field(repr=False)
    """The token as it travels."""

    visit: Visit

    issued: float
    """When the page was made, in seconds since the epoch. Renewing keeps it."""

    worker: str | None
    """For a pulled session, the id of the process that holds it; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Mints, reads and renews tokens. Any thread may call it."""

    key: bytes = field(repr=False)
    expiration: float
    """Seconds for which a token opens a session."""
    max_age: float
    """Seconds for which a token is renewed."""
    max_arguments_size: int
    """Bytes of arguments and data together, as JSON."""

    def mint(
        self,
        path: str,
        *,
        user: str | None,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        worker: str | None = None,
    ) -> Token:
        """Make the token of a new session.

        :param worker: the process that will hold the session, if it is pulled.
        :raises ArgumentsError: if arguments or data are not JSON, or too large.
        """
        texts = self._arguments(path, arguments or {})
        values = self._data(path, data or {})
        size = len(json.dumps([texts, values]).encode())
        if size > self.max_arguments_size:
            raise ArgumentsError(
                f"arguments and data for {path!r} take {size:,} bytes as JSON; "
                f"BOKEH_MAX_ARGUMENTS_SIZE allows {self.max_arguments_size:,}. A token travels in "
                "one HTTP header: pass a key, and load what it stands for in a customize hook."
            )
        session_id = generate_session_id(secret_key=self.key, signed=True)
        visit = Visit(
            user=user, arguments=texts, data=values, path=path, session_id=str(session_id)
        )
        return self._sign(Token(text="", visit=visit, issued=time.time(), worker=worker))

    def read(self, text: str) -> Token:
        """Check a token that came from outside, and say what is in it.

        :raises TokenError: unless it is whole, signed by us, and young enough to be renewed.
        """
        if len(text) > MAX_TOKEN_LENGTH or not _TOKEN_ALPHABET.fullmatch(text):
            raise TokenError("The session token is malformed.")
        try:
            # The signature comes before anything is decompressed: what is signed is ours.
            if not check_token_signature(text, secret_key=self.key, signed=True):
                raise TokenError("The session token has a wrong signature.")
            session_id = str(get_session_id(text))
            payload = get_token_payload(text)
            ours = payload[_OURS]
            token = Token(
                text=text,
                visit=_visit(session_id, payload),
                issued=float(ours["issued"]),
                worker=ours.get("worker"),
            )
        except TokenError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise TokenError("The session token is malformed.") from error
        if time.time() - token.issued > self.max_age:
            raise TokenError("The session token is too old: reload the page.")
        return token

    def renew(self, token: Token) -> Token:
        """The same session and visit with a fresh expiry; the age of the page stays."""
        return self._sign(token)

    def _sign(self, token: Token) -> Token:
        visit = token.visit
        ours: dict[str, Any] = {"path": visit.path, "user": visit.user, "issued": token.issued}
        if visit.data:
            ours["data"] = visit.data
        if token.worker is not None:
            ours["worker"] = token.worker
        payload = {
            _ARGUMENTS: {name: [value.encode()] for name, value in visit.arguments.items()},
            _OURS: ours,
        }
        text = generate_jwt_token(
            visit.session_id,  # type: ignore[arg-type]
            secret_key=self.key,
            signed=True,
            extra_payload=payload,
            expiration=max(1, round(self.expiration)),
        )
        if len(text) > MAX_TOKEN_LENGTH:
            raise ArgumentsError(
                f"The token for {visit.path!r} takes {len(text):,} bytes; servers and proxies "
                f"refuse headers over 8 KB. Pass less in arguments and data."
            )
        return replace(token, text=text)

    @staticmethod
    def _arguments(path: str, arguments: Mapping[str, Any]) -> dict[str, str]:
        for name, value in arguments.items():
            if not isinstance(name, str) or not isinstance(value, str | int | float):
                raise ArgumentsError(
                    f"arguments for {path!r} has {name!r}: {value!r}; expected strings or "
                    "numbers. Pass other JSON values as data."
                )
        return {name: str(value) for name, value in arguments.items()}

    @staticmethod
    def _data(path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if not isinstance(data, Mapping):
                raise TypeError(f"expected a dict, got {type(data).__name__}")
            copy = json.loads(json.dumps(dict(data), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentsError(f"data for {path!r} is not JSON: {error}.") from error
        if copy != dict(data):
            raise ArgumentsError(
                f"data for {path!r} changes on its way through JSON (tuples, or keys that are "
                f"not strings): it would arrive as {copy!r}."
            )
        return dict(copy)


def visit(doc: Document) -> Visit:
    """Who visits this document. In a hook, an application, or any of their callbacks.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    known = _visits.get(doc)
    if known is None:
        payload = _payload(doc)
        assert doc.session_context is not None  # it gave the payload
        known = _visits[doc] = _visit(str(doc.session_context.id), payload)
    return known


def is_pulled(doc: Document) -> bool:
    """Whether ``pull_session`` created this document's session.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    return "worker" in _payload(doc)[_OURS]


def derive_key(site_secret: str | bytes) -> bytes:
    """A key for tokens from the site's ``SECRET_KEY``, useless for anything else."""
    raw = site_secret.encode() if isinstance(site_secret, str) else site_secret
    return hmac.new(raw, b"flask_bokeh session tokens", hashlib.sha256).digest()


# Bokeh keeps session contexts as long as sessions, but a callback may run at the very end.
_visits: weakref.WeakKeyDictionary[Document, Visit] = weakref.WeakKeyDictionary()


def _payload(doc: Document) -> Mapping[str, Any]:
    try:
        payload: Mapping[str, Any] = doc.session_context.token_payload  # type: ignore[union-attr]
        payload[_OURS]
    except (AttributeError, AssertionError, KeyError) as error:  # asserts where there is no token
        raise TokenError(
            "This document has no session of flask_bokeh, so nobody visits it."
        ) from error
    return payload


def _visit(session_id: str, payload: Mapping[str, Any]) -> Visit:
    ours = payload[_OURS]
    return Visit(
        user=ours["user"],
        arguments={name: values[0].decode() for name, values in payload[_ARGUMENTS].items()},
        data=ours.get("data", {}),
        path=ours["path"],
        session_id=session_id,
    )
