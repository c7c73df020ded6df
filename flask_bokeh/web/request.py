"""Read a request: the application it names, its host, and the headers that applications see."""

from __future__ import annotations

from collections.abc import Mapping

from flask import abort, current_app, request

from ..applications.registry import Registration
from ..errors import UnknownApplicationError
from ..state import BokehState

__all__ = ("asked_application", "check_trusted_hosts", "visible_headers")


_VISIBLE_HEADERS = ("Host", "Cookie", "User-Agent", "Accept-Language")


def asked_application(state: BokehState, application: str) -> Registration:
    """The application of the matched route; else it is a 404."""
    try:
        return state.applications.get(f"/{application}")
    except UnknownApplicationError:
        abort(404)


def check_trusted_hosts() -> None:
    """Hold the Host against ``TRUSTED_HOSTS``: a 400 if it is none of them.

    Flask 3.0 does not; later ones have done this already.
    """
    if trusted := current_app.config.get("TRUSTED_HOSTS"):
        request.trusted_hosts = trusted
        _ = request.host  # raises SecurityError, a 400


def visible_headers() -> Mapping[str, str]:
    """The request's headers that an application may see: those that a hand-over keeps, too."""
    return {name: value for name in _VISIBLE_HEADERS if (value := request.headers.get(name))}
