"""Flask's implementation of the interface between the lower layers and the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from flask import Flask, request

from ..applications.registrations import AppRegistrations
from ..errors import ApplicationFailedError
from ..hijack.upgrade_request import VISIBLE_HEADERS
from ..security.principal import Principal
from ..security.visit import Visit
from ..settings import Settings
from ..state import AppState
from .auth import check_guards, client_address, load_user
from .browser_cookie import BrowserCookie
from .error_box import report_failure

__all__ = ("FlaskIntegration",)


class FlaskIntegration:
    """Implements :class:`~flask_bokeh.security.integration.Integration` for a Flask application."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self.cookie = BrowserCookie(self._signing_keys) if settings.bind_browser else None
        """The cookie that identifies anonymous browsers; None if the site does not want it."""

    @property
    def root_path(self) -> Path:
        """The folder that file names of applications are relative to."""
        return Path(self._app.root_path)

    @property
    def debug(self) -> bool:
        """True if visitors may see tracebacks."""
        return self._app.debug

    def application_context(self) -> AbstractContextManager[Any]:
        """Return an application context, for code that runs outside a request."""
        return self._app.app_context()

    def secret_keys(self) -> Sequence[str | bytes]:
        """Return ``SECRET_KEY``, then those in ``SECRET_KEY_FALLBACKS``; empty without a key."""
        if not self._app.secret_key:
            return []
        return [self._app.secret_key, *(self._app.config.get("SECRET_KEY_FALLBACKS") or [])]

    def identify(self) -> Principal:
        """Return the principal that sent this request."""
        user = load_user(self._registrations)
        browsers = self.cookie.read() if user is None and self.cookie is not None else []
        return _principal(user, browsers)

    def identify_or_set_cookie(self) -> Principal:
        """Return the principal that sent this request; give an unknown browser a cookie.

        :raises EmbedError: if a cookie is needed, and the headers of a stream have been sent.
        """
        user = load_user(self._registrations)
        browsers = self.cookie.read_or_set() if user is None and self.cookie is not None else []
        return _principal(user, browsers)

    def check_access(self, visit: Visit) -> None:
        """Run the guards of the visited application.

        :raises HTTPException: if a guard refuses.
        """
        check_guards(self._registrations, visit)

    def application_headers(self) -> Mapping[str, str]:
        """Return the headers of this request that an application may see."""
        headers = request.headers
        return {name: value for name in VISIBLE_HEADERS if (value := headers.get(name))}

    def report_failure(self, failure: ApplicationFailedError) -> str:
        """Log a failure and return the HTML of the error box for the visitor."""
        return report_failure(self._app, failure)

    @property
    def _state(self) -> AppState:
        state: AppState = self._app.extensions["bokeh"]
        return state

    @property
    def _registrations(self) -> AppRegistrations:
        return self._state.registrations

    def _signing_keys(self) -> tuple[bytes, ...]:
        return self._state.authorizer.tokens.keys


def _principal(user: str | None, browsers: Sequence[str]) -> Principal:
    return Principal(
        user=user,
        browser=next(iter(browsers), None),
        more_browsers=tuple(browsers[1:]),
        address=client_address(),
    )
