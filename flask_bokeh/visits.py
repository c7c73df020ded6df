"""Who visits what: the values that a session token carries.

A token's payload is written by :mod:`flask_bokeh.tokens`, and read here: by Flask from a token
that a browser offers, and in a document from the token that created its session.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .arguments import Arguments
from .errors import TokenError

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("ARGUMENTS", "OURS", "Asker", "Token", "Visit", "read_payload", "token_of", "visit")

ARGUMENTS = "arguments"
"""Bokeh's own name for a request's arguments in a payload, so that applications that read
``doc.session_context.request.arguments`` find them there."""
OURS = "flask_bokeh"
"""The name of everything else of ours in a payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who visits, and with what. Hooks get one; :func:`visit` finds it from any callback."""

    user: str | None
    """Who, as the site's ``user_loader`` says; None for nobody in particular."""

    arguments: Arguments = field(default_factory=Arguments)
    """The arguments of the embed or of ``pull_session``: the first value of each.
    ``arguments.getlist(name)`` has all, as in Flask's ``request.args``."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """The JSON values given as ``data``. A browser can read them, and can't change them."""

    path: str
    """The application's path."""

    session_id: str
    """The session's id."""

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, Arguments):  # a plain dict, in a test of the site
            object.__setattr__(self, "arguments", Arguments(self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who sends a request: for a page, or to open a WebSocket."""

    user: str | None = None
    """The site's user; None for nobody in particular."""

    browser: str | None = field(default=None, repr=False)
    """For nobody in particular, the id in our cookie; None where there is none."""

    more_browsers: tuple[str, ...] = field(default=(), repr=False)
    """Further ids of ours that came with the request; their tokens are this browser's, too."""

    address: str | None = None
    """The client's address; empty where it is not known, None where there is no client."""

    def __str__(self) -> str:
        """Return user and address, for log lines."""
        user = "a visitor without a user" if self.user is None else f"user {self.user!r}"
        return f"{user} at {self.address or 'an unknown address'}"

    @property
    def identity(self) -> str | None:
        """What a token is bound to; None for who can't be told from others."""
        return next(iter(self.identities), None)

    @property
    def identities(self) -> tuple[str, ...]:
        """Everything that a token of this visitor's can be bound to."""
        if self.user is not None:
            return (f"user {self.user}",)
        if self.browser is None:
            return ()
        return tuple(f"browser {one}" for one in (self.browser, *self.more_browsers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says, once its signature has been checked."""

    text: str = field(repr=False)
    """The token as it travels."""

    visit: Visit

    issued: float
    """When the page was made, in seconds since the epoch. Renewing keeps it."""

    worker: str | None
    """The id of the process that holds the session, if it was created with the page; else None."""

    pulled: bool = False
    """Whether a view had it, so that no other process can create it again."""

    bound: str | None
    """A keyed digest of who asked for the page. None for a bearer token: whoever has it may use
    it, but only while its short life lasts."""


def visit(doc: Document) -> Visit:
    """Who visits this document. In a hook, an application, or any of their callbacks.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    return token_of(doc).visit


def token_of(doc: Document) -> Token:
    """The token that this document's session was created with, without its text.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    known = _tokens.get(doc)
    if known is None:
        try:
            context = doc.session_context
            payload = context.token_payload  # type: ignore[union-attr]
            known = read_payload("", str(context.id), payload)  # type: ignore[union-attr]
        except (AttributeError, AssertionError, KeyError) as error:  # asserts if it has no token
            raise TokenError(
                "This document has no session of flask_bokeh, so nobody visits it."
            ) from error
        _tokens[doc] = known
    return known


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
        text=text,
        visit=visit,
        issued=float(ours["issued"]),
        worker=ours.get("worker"),
        pulled=bool(ours.get("pulled")),
        bound=ours.get("bound"),
    )


# Bokeh keeps session contexts as long as sessions, but a callback may run at the very end.
_tokens: weakref.WeakKeyDictionary[Document, Token] = weakref.WeakKeyDictionary()
