"""What a request asks for, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping

from flask import abort, current_app, request

from ..config import Settings
from ..errors import UnknownApplicationError
from ..registry import Registration
from ..state import BokehState
from .origin import origin_allowed

__all__ = (
    "asked_application",
    "check_host",
    "is_own_origin",
    "origin_is_allowed",
    "own_origin",
    "visible_headers",
)

_VISIBLE_HEADERS = ("Host", "Cookie", "User-Agent", "Accept-Language")


def asked_application(state: BokehState, application: str) -> Registration:
    """The application of the matched route; else it is a 404."""
    try:
        return state.applications.get(f"/{application}")
    except UnknownApplicationError:
        abort(404)


def own_origin() -> str:
    """The site's origin as the client knows it. Flask's ``host_url`` raises for a bad Host."""
    return f"{request.scheme}://{request.host}"


def is_own_origin(origin: str) -> bool:
    """Whether this is the site's origin, however it is written."""
    return origin_allowed(origin, own_origin(), (), allow_missing=False)


def origin_is_allowed(settings: Settings, origin: str | None) -> bool:
    """Whether a page of this origin may open a WebSocket."""
    return origin_allowed(
        origin,
        own_origin(),
        settings.allow_ws_origin,
        allow_missing=settings.allow_missing_origin,
    )


def check_host() -> None:
    """Hold the Host against ``TRUSTED_HOSTS``: a 400 if it is none of them.

    Flask 3.0 does not; later ones have done this already.
    """
    if trusted := current_app.config.get("TRUSTED_HOSTS"):
        request.trusted_hosts = trusted
        _ = request.host  # raises SecurityError, a 400


def visible_headers() -> Mapping[str, str]:
    """The request's headers that an application may see: those that a hand-over keeps, too."""
    return {name: value for name in _VISIBLE_HEADERS if (value := request.headers.get(name))}
