"""The session that ``pull_session`` gives to a view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..security.tokens import Token

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("PulledSession",)


def _nothing_to_send() -> None:
    """Do nothing: with the direct transport, the document is the server's own."""


@dataclass(slots=True, eq=False)
class PulledSession:
    """A session that was pulled for this request. Edit its document until the block ends."""

    token: Token = field(repr=False)
    document: Document = field(repr=False)
    """The document to edit, on the thread of the view, until the block ends."""
    force_roundtrip: Callable[[], None] = field(default=_nothing_to_send, repr=False)
    """Wait until the server has all edits made so far, for ``BOKEH_PULL_TIMEOUT`` seconds at most.
    The end of the block does so, too."""
    embedded: bool = field(default=False, repr=False)
    """True once a template has rendered it: a page shows a session only once."""

    @property
    def id(self) -> str:
        """The session's ID."""
        return self.token.visit.session_id

    @property
    def path(self) -> str:
        """The application's path."""
        return self.token.visit.path
