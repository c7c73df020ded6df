"""Find the visit of a document."""

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


# Bokeh keeps session contexts as long as sessions, but a callback may run at the very end.
_tokens: weakref.WeakKeyDictionary[Document, Token] = weakref.WeakKeyDictionary()
