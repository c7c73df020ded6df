"""The state that this extension keeps for one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import request

if TYPE_CHECKING:
    from ..server.pulled_session import PulledSession

__all__ = ("RequestState", "request_state")

_KEY = "flask_bokeh.request_state"


@dataclass(slots=True, eq=False)
class RequestState:
    """The state of one request so far."""

    pulled_sessions: list[PulledSession] = field(default_factory=list)
    """The sessions that the view has pulled, for ``{% bokeh %}``."""

    resources_rendered: bool = False
    """True if the page loads BokehJS already."""

    holds_token: bool = False
    """True if the response holds a session token, so that it must not be stored."""

    new_browser_id: str | None = None
    """The ID for the browser cookie that the response will set."""

    is_ours: bool = False
    """True if a view of our own blueprint answers."""

    frame_ancestors: str | None = None
    """The ``frame-ancestors`` directive for the response, unless the site has one."""

    headers_sent: bool = False
    """True if the headers of the response are final: what follows is the body of a stream."""

    sent_no_store: bool = False
    """True if those headers forbid to store the response."""


def request_state() -> RequestState:
    """Return the state of the current request."""
    # In the environ, because flask.g outlives a request inside an outer application context.
    state: RequestState = request.environ.setdefault(_KEY, RequestState())
    return state
