"""Session tokens: who visits which application, signed.

A token is one of Bokeh's own (``bokeh.util.token``), always signed, minted in Flask and
checked both here and by the Bokeh server. It holds a session id, a
:class:`~flask_bokeh.security.visit.Visit`, the time it was issued, and a keyed digest of who asked
for it; never a cookie, never a header. Bokeh evaluates the defaults for key and signing when it is
imported, so both are always passed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bokeh.util.token import (
    check_session_id_signature,
    check_token_signature,
    generate_jwt_token,
    generate_session_id,
    get_session_id,
    get_token_payload,
)

from ..errors import ArgumentsError, TokenError
from .arguments import Arguments
from .principal import Principal
from .visit import Visit

__all__ = ("ARGUMENTS", "OURS", "Token", "TokenIssuer", "read_payload")

logger = logging.getLogger("flask_bokeh")

# gunicorn and nginx refuse a header field over 8 KB, and a token travels in one.
MAX_TOKEN_LENGTH = 7_800
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError, zlib.error)


ARGUMENTS = "arguments"
"""Bokeh's own name for a request's arguments in a payload, so that applications that read
``doc.session_context.request.arguments`` find them there."""

OURS = "flask_bokeh"
"""The name of everything else of ours in a payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says, once its signature has been checked."""

    encoded: str = field(repr=False)
    """The token as it travels."""

    visit: Visit

    issued_at: float
    """When the page was made, in seconds since the epoch. Renewing keeps it."""

    worker_id: str | None
    """The id of the process that holds the session, if it was created with the page; else None."""

    pulled: bool = False
    """Whether a view had it, so that no other process can create it again."""

    subject: str | None
    """A keyed digest of who asked for the page. None for a bearer token: whoever has it may use
    it, but only while its short life lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Mints, reads and renews tokens. Any thread may call it."""

    keys: tuple[bytes, ...] = field(repr=False)
    """The first signs; the others are older ones, whose tokens are still good."""
    expiration: float
    """Seconds for which a token opens a session."""
    max_age: float
    """Seconds for which a token is renewed."""
    max_arguments_size: int
    """Bytes of arguments and data together, as JSON."""

    @property
    def key(self) -> bytes:
        """The key that signs."""
        return self.keys[0]

    def mint(
        self,
        path: str,
        *,
        principal: Principal,
        user: str | None,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        worker_id: str | None = None,
    ) -> Token:
        """Make the token of a new session.

        :param principal: who may use it.
        :param user: who visits, as the application sees it; mostly the one who asks.
        :param worker_id: the process that will hold the session, if it is pulled.
        :raises ArgumentsError: if arguments or data are not JSON, or too large.
        """
        texts = Arguments.of(path, {} if arguments is None else arguments)
        values = self._data(path, {} if data is None else data)
        more = {name: some for name, some in texts.lists().items() if len(some) > 1}
        size = len(json.dumps([texts | more, values]).encode())
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
        subject = None if principal.identity is None else _digest(self.key, principal.identity)
        return self._sign(
            Token(
                encoded="",
                visit=visit,
                issued_at=time.time(),
                worker_id=worker_id,
                pulled=worker_id is not None,
                subject=subject,
            )
        )

    def read(self, text: str) -> Token:
        """Check a token that came from outside, and say what is in it.

        :raises TokenError: unless it is whole, signed by us, and young enough to be renewed.
        """
        if len(text) > MAX_TOKEN_LENGTH:
            raise TokenError("The session token is too long.")
        try:
            # The signature comes before anything is decompressed: what is signed is ours.
            key = next((one for one in self.keys if _signed_by(one, text)), None)
            if key is None:
                raise TokenError(
                    "The session token has a wrong signature. (All workers need the same key.)"
                )
            session_id = str(get_session_id(text))
            if key != self.key:
                session_id = _sign_again(session_id, self.key)
            token = read_payload(text, session_id, get_token_payload(text))
        except TokenError:
            raise
        except _MALFORMED as error:
            raise TokenError("The session token is malformed.") from error
        if not time.time() - token.issued_at <= self.max_age:  # so that NaN is too old
            raise TokenError("The session token is too old: reload the page.")
        return token

    def expired(self, token: Token) -> bool:
        """Whether the short life of the page's token is over."""
        return time.time() - token.issued_at > self.expiration

    def belongs_to(self, token: Token, principal: Principal) -> bool:
        """Return whether the principal may use the token: it is theirs, or a bearer token."""
        if token.subject is None:
            return True
        return any(
            hmac.compare_digest(token.subject, one) for one in self.subject_digests(principal)
        )

    def subject_digests(self, principal: Principal) -> tuple[str, ...]:
        """What :attr:`Token.subject` can be for somebody, by the keys."""
        return tuple(_digest(key, one) for one in principal.identities for key in self.keys)

    def renew(self, token: Token) -> Token:
        """The same session and visit with a fresh expiry; the age of the page stays."""
        return self._sign(token)

    def _sign(self, token: Token) -> Token:
        visit = token.visit
        ours: dict[str, Any] = {"path": visit.path, "user": visit.user, "issued": token.issued_at}
        if visit.data:
            ours["data"] = visit.data
        if token.worker_id is not None:
            ours["worker"] = token.worker_id
        if token.pulled:
            ours["pulled"] = True
        if token.subject is not None:
            ours["bound"] = token.subject
        payload = {
            ARGUMENTS: {
                name: [one.encode() for one in some]
                for name, some in visit.arguments.lists().items()
            },
            OURS: ours,
        }
        text = generate_jwt_token(
            visit.session_id,  # type: ignore[arg-type]
            secret_key=self.key,
            signed=True,
            extra_payload=payload,
            # Bokeh leaves out the parts of a second, of now and of the end: so one more.
            expiration=math.ceil(self.expiration) + 1,
        )
        if len(text) > MAX_TOKEN_LENGTH:
            raise ArgumentsError(
                f"The token for {visit.path!r} takes {len(text):,} bytes; servers and proxies "
                f"refuse headers over 8 KB. Pass less in arguments and data."
            )
        return replace(token, encoded=text)

    @staticmethod
    def _data(path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise ArgumentsError(f"data for {path!r} is a {type(data).__name__}; expected a dict.")
        values: dict[str, Any] = {}
        for name, value in data.items():
            try:
                copy = json.loads(json.dumps({name: value}, allow_nan=False))
            except (TypeError, ValueError, RecursionError) as error:
                raise ArgumentsError(
                    f"data for {path!r} has {name!r}, which is not JSON: {error}. Use "
                    "lists, dicts, strings, finite numbers, True, False and None."
                ) from error
            if copy != {name: value}:
                raise ArgumentsError(
                    f"data for {path!r} has {name!r}, which changes on its way through JSON: "
                    "tuples would arrive as lists, and keys that are no strings as strings."
                )
            values |= copy
        return values


def read_payload(text: str, session_id: str, payload: Mapping[str, Any]) -> Token:
    """What a payload says.

    :raises: LookupError, TypeError, ValueError or AttributeError if it is none of ours.
    """
    ours = payload[OURS]
    visit = Visit(
        user=ours["user"],
        arguments=Arguments(
            {name: [one.decode() for one in some] for name, some in payload[ARGUMENTS].items()}
        ),
        data=ours.get("data", {}),
        path=ours["path"],
        session_id=session_id,
    )
    return Token(
        encoded=text,
        visit=visit,
        issued_at=float(ours["issued"]),
        worker_id=ours.get("worker"),
        pulled=bool(ours.get("pulled")),
        subject=ours.get("bound"),
    )


def _signed_by(key: bytes, text: str) -> bool:
    return check_token_signature(text, secret_key=key, signed=True)


def _sign_again(session_id: str, key: bytes) -> str:
    """The same id under another key. Bokeh makes random ids only; this is their form."""
    base = session_id.partition(".")[0]
    again = f"{base}.{_base64(hmac.new(key, base.encode(), hashlib.sha256).digest())}"
    if not check_session_id_signature(again, secret_key=key, signed=True):
        raise TokenError("This Bokeh version signs session ids in a new way")
    return again


def _digest(key: bytes, identity: str) -> str:
    """128 bits that say nothing without the key."""
    return _base64(hmac.new(key, b"principal " + identity.encode(), hashlib.sha256).digest()[:16])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
