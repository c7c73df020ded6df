"""Session tokens: how they are made, signed, read and renewed.

A token is one of Bokeh's own (``bokeh.util.token``), always signed, minted in Flask and
verified both here and by the Bokeh server. It holds a session ID, a
:class:`~flask_bokeh.security.visit.Visit`, the time of issue, and a keyed digest of the principal
it was issued to; never cookies or headers. Bokeh evaluates its defaults for key and signing on
import, so both are always passed.
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
"""The name of all our other values in a payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The content of a token whose signature has been verified."""

    encoded: str = field(repr=False)
    """The signed token, as it is sent."""

    visit: Visit

    issued_at: float
    """When the page was made, in seconds since the epoch. Renewing keeps it."""

    worker_id: str | None
    """The process that holds the session, if it was created with the page; else None."""

    pulled: bool = False
    """True if a view has edited the session, so that no other process can create it again."""

    subject: str | None
    """A keyed digest of the principal that the token was issued to. None for a bearer token, which
    anybody may use until it expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """Mints, reads and renews tokens. Thread-safe."""

    keys: tuple[bytes, ...] = field(repr=False)
    """The first one signs. The others are older keys, whose tokens are still valid."""
    expiration: float
    """Seconds for which a token opens a session."""
    max_age: float
    """Seconds after issue for which a token can be renewed."""
    max_arguments_size: int
    """Maximum bytes of arguments and data together, as JSON."""

    @property
    def key(self) -> bytes:
        """The signing key."""
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
        """Create and sign the token of a new session.

        :param principal: the only one who may use the token.
        :param user: the visiting user that the application sees; usually the principal's.
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

    def read(self, encoded: str) -> Token:
        """Verify and decode a token from a client.

        :raises TokenError: if it is malformed, not signed by us, or too old to be renewed.
        """
        if len(encoded) > MAX_TOKEN_LENGTH:
            raise TokenError("The session token is too long.")
        try:
            # Verify the signature first: decompressing a payload is safe only if it is ours.
            key = next((one for one in self.keys if _is_signed_by(one, encoded)), None)
            if key is None:
                raise TokenError(
                    "The session token has a wrong signature. (All workers need the same key.)"
                )
            session_id = str(get_session_id(encoded))
            if key != self.key:
                session_id = _sign_again(session_id, self.key)
            token = read_payload(encoded, session_id, get_token_payload(encoded))
        except TokenError:
            raise
        except _MALFORMED as error:
            raise TokenError("The session token is malformed.") from error
        if not time.time() - token.issued_at <= self.max_age:  # NaN is too old, too
            raise TokenError("The session token is too old: reload the page.")
        return token

    def is_expired(self, token: Token) -> bool:
        """Return whether a token must be renewed before it opens a session."""
        return time.time() - token.issued_at > self.expiration

    def belongs_to(self, token: Token, principal: Principal) -> bool:
        """Return whether a principal may use a token: it is theirs, or a bearer token."""
        if token.subject is None:
            return True
        return any(
            hmac.compare_digest(token.subject, one) for one in self.subject_digests(principal)
        )

    def subject_digests(self, principal: Principal) -> tuple[str, ...]:
        """Return the values that :attr:`Token.subject` can have for a principal, for all keys."""
        return tuple(_digest(key, one) for one in principal.identities for key in self.keys)

    def renew(self, token: Token) -> Token:
        """Return a token of the same session with a new expiry and the same time of issue."""
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
        encoded = generate_jwt_token(
            visit.session_id,  # type: ignore[arg-type]
            secret_key=self.key,
            signed=True,
            extra_payload=payload,
            # One more second, because Bokeh rounds down both the time and the expiry.
            expiration=math.ceil(self.expiration) + 1,
        )
        if len(encoded) > MAX_TOKEN_LENGTH:
            raise ArgumentsError(
                f"The token for {visit.path!r} takes {len(encoded):,} bytes; servers and proxies "
                f"refuse headers over 8 KB. Pass less in arguments and data."
            )
        return replace(token, encoded=encoded)

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


def read_payload(encoded: str, session_id: str, payload: Mapping[str, Any]) -> Token:
    """Return the token that a verified payload describes.

    :raises: LookupError, TypeError, ValueError or AttributeError for a payload of others.
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
        encoded=encoded,
        visit=visit,
        issued_at=float(ours["issued"]),
        worker_id=ours.get("worker"),
        pulled=bool(ours.get("pulled")),
        subject=ours.get("bound"),
    )


def _is_signed_by(key: bytes, encoded: str) -> bool:
    return check_token_signature(encoded, secret_key=key, signed=True)


def _sign_again(session_id: str, key: bytes) -> str:
    """Sign a session ID with another key, in Bokeh's format: Bokeh itself only signs new IDs."""
    base = session_id.partition(".")[0]
    signed = f"{base}.{_base64(hmac.new(key, base.encode(), hashlib.sha256).digest())}"
    if not check_session_id_signature(signed, secret_key=key, signed=True):
        raise TokenError("This Bokeh version signs session IDs in a new way.")
    return signed


def _digest(key: bytes, identity: str) -> str:
    """Return 128 bits that reveal nothing about the identity without the key."""
    return _base64(hmac.new(key, b"principal " + identity.encode(), hashlib.sha256).digest()[:16])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
