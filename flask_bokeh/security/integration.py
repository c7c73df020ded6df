"""The interface between this package and the web framework of the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..errors import ApplicationFailedError
from .principal import Principal
from .visit import Visit

__all__ = ("Integration",)


class Integration(Protocol):
    """Everything that the layers below ``web`` need from the site.

    :class:`flask_bokeh.web.integration.FlaskIntegration` implements it for Flask. The methods
    that identify, check and read headers work inside a request only; all others work on any
    thread, with or without a request.
    """

    @property
    def root_path(self) -> Path:
        """The folder that file names of applications are relative to."""

    @property
    def debug(self) -> bool:
        """True if visitors may see tracebacks."""

    def application_context(self) -> AbstractContextManager[Any]:
        """Return an application context, for code that runs outside a request."""

    def secret_keys(self) -> Sequence[str | bytes]:
        """Return the site's secret key and older ones, newest first; empty if it has none."""

    def identify(self) -> Principal:
        """Return the principal that sent this request."""

    def identify_or_set_cookie(self) -> Principal:
        """Return the principal that sent this request; give an unknown browser a cookie."""

    def check_access(self, visit: Visit) -> None:
        """Run the guards of the visited application; raise if one of them refuses."""

    def application_headers(self) -> Mapping[str, str]:
        """Return the headers of this request that an application may see."""

    def report_failure(self, failure: ApplicationFailedError) -> str:
        """Log a failure and return the HTML of the error box for the visitor."""
