"""Who visits what: the values that a session token carries.

A token's payload is written and read by :mod:`flask_bokeh.security.tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .arguments import Arguments

__all__ = ("Visit",)


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
