"""The visit of a document: the public ``flask_bokeh.visit``."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..errors import TokenError
from .tokens import Token, read_payload
from .visit import Visit

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("token_of", "visit")


def visit(doc: Document) -> Visit:
    """Return the visit of a document: its user, arguments and data.

    Works in applications, hooks and all their callbacks, on any thread.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    return token_of(doc).visit


def token_of(doc: Document) -> Token:
    """Return the token that a document's session was created with, without its encoded form.

    :raises TokenError: if the document was not created by flask_bokeh.
    """
    token = _tokens.get(doc)
    if token is None:
        try:
            context = doc.session_context
            payload = context.token_payload  # type: ignore[union-attr]
            token = read_payload("", str(context.id), payload)  # type: ignore[union-attr]
        except (AttributeError, AssertionError, KeyError) as error:  # asserts if it has no token
            raise TokenError(
                "This document has no session of flask_bokeh, so it has no visit."
            ) from error
        _tokens[doc] = token
    return token


# A callback may still run when Bokeh has dropped the session, and its context with it.
_tokens: weakref.WeakKeyDictionary[Document, Token] = weakref.WeakKeyDictionary()
