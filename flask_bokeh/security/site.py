"""What the rest of the package needs from a Flask application, as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ApplicationFailedError
from .principal import Principal
from .visit import Visit

__all__ = ("SENT", "Site")

SENT = "flask_bokeh.sent"
"""In a WSGI environ once the headers of its response have been sent: whether they were no-store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the Flask application gives."""

    root: Path
    """The folder that files of applications are relative to."""
    context: Callable[[], AbstractContextManager[Any]]
    """Makes an application context."""
    secrets: Callable[[], Sequence[str | bytes]]
    """The site's ``SECRET_KEY``, if it has one, then older ones."""
    principal: Callable[[], Principal]
    """Who is asking, in a request."""
    visitor: Callable[[], Principal]
    """The same, for a page: its browser gets a cookie if it needs one."""
    check: Callable[[Visit], None]
    """Run the guards, in a request; raises if one refuses."""
    headers: Callable[[], Mapping[str, str]]
    """The headers of the request that an application may see."""
    report: Callable[[ApplicationFailedError], str]
    """Logs a failure and returns the HTML of its box."""
    debug: Callable[[], bool] = lambda: False
    """Whether errors are shown to visitors, who are developers then."""
