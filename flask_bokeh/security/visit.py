"""The values that a session token carries to applications and hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .arguments import Arguments

__all__ = ("Visit",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The visitor of a session, and the values that the page gave to it.

    Hooks get one as an argument; :func:`flask_bokeh.visit` returns it in any callback.
    """

    user: str | None
    """The user, as the site's ``user_loader`` returns it; None for an anonymous visitor."""

    arguments: Arguments = field(default_factory=Arguments)
    """The arguments of the embed or of ``pull_session``: the first value of each.
    ``arguments.getlist(name)`` returns all of them, as in Flask's ``request.args``."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """The JSON values given as ``data``. A browser can read but not change them."""

    path: str
    """The application's path."""

    session_id: str
    """The session's ID."""

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, Arguments):  # a plain dict, in a test of the site
            object.__setattr__(self, "arguments", Arguments(self.arguments))
