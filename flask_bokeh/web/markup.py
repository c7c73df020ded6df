"""Markup of plots and of BokehJS, for the Jinja tags and functions. In requests only."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from flask import current_app, request
from markupsafe import Markup

from ..bokeh_api import embed
from ..errors import EmbedError, kind_of
from ..hijack.adapters import can_hijack, unsupported_reason
from ..security.tokens import Token
from ..server.pulled_session import PulledSession
from ..settings import Settings
from .browser_script import browser_script
from .rendering import render
from .request_state import request_state
from .urls import application_url, root_url

if TYPE_CHECKING:
    from bokeh.model import Model

__all__ = ("page_markup", "render_resources", "render_session")

logger = logging.getLogger("flask_bokeh")


def render_resources(settings: Settings) -> Markup:
    """Return the tags that load BokehJS the first time in a request, then empty markup."""
    if request_state().resources_rendered:
        return Markup()
    request_state().resources_rendered = True
    return _resources(settings)


def page_markup(settings: Settings, token: Token) -> embed.PageParts:
    """Return the parts of an application's own page that depend on the request."""
    own_url = application_url(settings, token.visit.path)
    return embed.PageParts(
        token=token.encoded,
        resources=_resources(settings),
        nonce=_nonce(settings),
        app_url=own_url,
        status_url=f"{own_url}/ws",
    )


def render_session(
    settings: Settings,
    token: Token,
    *,
    server_url: str | None,
    pulled: PulledSession | None = None,
    model: Model | None = None,
) -> Markup:
    """Return the markup that shows a session, with BokehJS before it if the page has none yet.

    :param server_url: the URL of the Bokeh server for browsers, if it has a port of its own.
    :param pulled: the session, if it has been pulled in this request.
    :param model: show only this root of its document.
    :raises EmbedError: if the page shows the session already, the model is not a root of it, or
        the headers of a stream have been sent without ``no-store``.
    """
    if pulled is not None:
        if pulled.embedded:
            raise EmbedError(
                f"The pulled session of {pulled.path} is on this page already, and a page shows a "
                "session once. Pull another session, or put both roots into one layout."
            )
        pulled.embedded = True
    state = request_state()
    if state.headers_sent and not state.sent_no_store:
        raise EmbedError(
            "This page is streamed, and its headers, which have been sent, let it be stored. "
            "A page with a plot is for one visitor: leave Cache-Control to flask_bokeh."
        )
    state.holds_token = True
    if settings.transport == "same-origin" and not can_hijack(request.environ) and _is_served():
        _warn_about_server(unsupported_reason(request.environ))
    path = token.visit.path
    places = [] if model is None or pulled is None else _places(pulled, model)
    element_id = embed.new_element_id()
    own_url = application_url(settings, path)
    plot_script = embed.plot_script(
        token.encoded,
        element_id,
        app_url=own_url if server_url is None else path,
        status_url=f"{own_url}/ws",
        answers_get=_answers_get(),
        server_url=server_url,
        places=places,
    )
    return render(
        "embed.html",
        resources=render_resources(settings),
        element_id=element_id,
        path=path,
        places=[place for _, place in places],
        plot_script=plot_script,
    )


def _is_served() -> bool:
    """Return whether a server made this request, and not a test of the site.

    Flask's test client sends Werkzeug as its user agent; a bare request context has no address.
    """
    agent = request.environ.get("HTTP_USER_AGENT", "")
    return "SERVER_SOFTWARE" in request.environ or (
        "REMOTE_ADDR" in request.environ and not agent.startswith("Werkzeug/")
    )


@cache
def _warn_about_server(why: str) -> None:
    """Log once in each process that no plot will be shown, and why."""
    logger.warning("%s", why)


def _resources(settings: Settings) -> Markup:
    root = root_url(settings)
    return render(
        "resources.html",
        assets=embed.assets(settings, root),
        script_url=f"{root}static/flask_bokeh.js?v={browser_script().version}",
        log_level=settings.log_level,
        answers_get=_answers_get(),
        nonce=_nonce(settings),
    )


def _answers_get() -> bool:
    """Return whether a browser can reload this page without repeating a POST."""
    return request.method in ("GET", "HEAD")


def _nonce(settings: Settings) -> str:
    """Return this request's nonce for the Content-Security-Policy; empty without one."""
    make = settings.csp_nonce or current_app.jinja_env.globals.get("csp_nonce")
    return str(make()) if callable(make) else ""


def _places(pulled: PulledSession, model: Model) -> list[tuple[Model, embed.Place]]:
    # BokehJS needs an element for every root, so the others get hidden ones.
    roots = pulled.document.roots
    if model not in roots:
        raise EmbedError(
            f"The model is {kind_of(model)}: it is not a root of the session of {pulled.path}, and "
            f"only roots can be shown by themselves: "
            f"{', '.join(map(repr, roots)) or 'it has none'}."
        )
    return [
        (root, embed.Place(embed.new_element_id(), str(root.id), root is model)) for root in roots
    ]
