"""Markup: the Jinja tags, the functions behind them, and the error box.

The functions render ``templates/flask_bokeh/*.html``, which a site may replace by files of
the same names in its own template folder. Everything returned is ``Markup``.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import current_app, request
from flask.sessions import SessionMixin
from jinja2 import Undefined
from markupsafe import Markup

from ..bokeh_api.v3 import embed
from ..errors import EmbedError, ServerStoppedError, kind_of
from ..hijack.adapters import can_hijack, why_it_cannot_hijack
from ..security.site import SENT
from ..security.tokens import Token
from ..server.pull import PulledSession
from ..settings import Settings
from ..state import BokehState

if TYPE_CHECKING:
    from bokeh.model import Model

__all__ = (
    "holds_token",
    "no_session",
    "page_markup",
    "pulled_in_request",
    "render_resources",
    "render_session",
    "server_url",
    "template_folder",
)

logger = logging.getLogger("flask_bokeh")


def template_folder() -> str:
    """Where our templates are: in the package when installed, beside it in a checkout.

    An editable install maps a top-level folder into the package in the wheel only.
    """
    package = Path(__file__).parent.parent
    inside = package / "templates"
    return str(inside if inside.is_dir() else package.parent / "templates")


def render_resources(settings: Settings) -> Markup:
    """The tags that load BokehJS, the first time in a request; then nothing."""
    if _page().resources:
        return Markup()
    _page().resources = True
    return _resources(settings)


def page_markup(settings: Settings, token: Token) -> embed.PageParts:
    """What goes into the page of an application that has one."""
    own_url = application_url(settings, token.visit.path)
    return embed.PageParts(
        token=token.encoded,
        resources=_resources(settings),
        nonce=_nonce(settings),
        app_url=own_url,
        state_url=f"{own_url}/ws",
    )


def render_session(
    settings: Settings,
    token: Token,
    *,
    server_url: str | None,
    pulled: PulledSession | None = None,
    model: Model | None = None,
) -> Markup:
    """The markup that shows a session, with BokehJS before it if the page has none yet.

    :param server_url: the Bokeh server's own address, where it has one for browsers.
    :param pulled: the session, if it exists already.
    :param model: show only this root of it.
    :raises EmbedError: for a session that the page shows already, or a model that is no root.
    """
    if pulled is not None:
        if pulled.embedded:
            raise EmbedError(
                f"The pulled session of {pulled.path} is on this page already, and a page shows a "
                "session once. Pull another session, or put both roots into one layout."
            )
        pulled.embedded = True
    if request.environ.get(SENT) is False:
        raise EmbedError(
            "This page is streamed, and its headers, which have been sent, let it be stored. "
            "A page with a plot is for one visitor: leave Cache-Control to flask_bokeh."
        )
    _page().has_token = True
    if settings.transport == "same-origin" and not can_hijack(request.environ) and _served():
        _warn_of_server(why_it_cannot_hijack(request.environ))
    path = token.visit.path
    places = [] if model is None or pulled is None else _places(pulled, model)
    element_id = embed.new_element_id()
    own_url = application_url(settings, path)
    script = embed.show_script(
        token.encoded,
        element_id,
        app_url=own_url if server_url is None else path,
        state_url=f"{own_url}/ws",
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
        script=script,
        nonce=_nonce(settings),
    )


def no_session(what: object) -> str:
    """Say what was given in the place of a session, but nothing that it holds."""
    if isinstance(what, SessionMixin):
        return (
            "Flask's cookie session, which is what `session` is in a template. A pulled session "
            "needs another name: pass it to the template as `bokeh_session`, and write "
            "{% bokeh bokeh_session %}, or {% bokeh %} for the one that was pulled in this request."
        )
    if isinstance(what, Undefined):
        return "a variable that is not defined. Pass the pulled session to the template."
    return f"{kind_of(what)}; expected an application's path or a pulled session."


def server_url(state: BokehState) -> str | None:
    """Where browsers find the server, if that is not Flask's own port."""
    if state.settings.transport == "same-origin":
        return None
    port = state.server().port
    if port is None:
        raise ServerStoppedError("BOKEH_TRANSPORT is 'port', but the server is on a unix socket.")
    scheme = "https" if state.settings.ssl_certfile else "http"
    host = re.sub(r":\d+$", "", request.host)
    return embed.url_path(f"{scheme}://{host}:{port}")


def application_url(settings: Settings, path: str) -> str:
    """The URL path of an application, as this request's client sees it."""
    return embed.url_path(request.script_root, settings.url_prefix, path.rstrip("/"))


def root_url(settings: Settings) -> str:
    """The URL path of the blueprint, with a slash at the end."""
    return embed.url_path(request.script_root, settings.url_prefix, "/")


def pulled_in_request() -> list[PulledSession]:
    """The sessions that were pulled in this request, for ``{% bokeh %}``."""
    return _page().pulled


def holds_token() -> bool:
    """Whether this request's response may hold a token, and so must not be stored."""
    return _page().has_token


def mark_token() -> None:
    """Say that this request's response holds a token."""
    _page().has_token = True


def _served() -> bool:
    """Whether a server has made this request, and not a test of the site: Flask's client says that
    it is Werkzeug, and a request context says nothing.
    """
    agent = request.environ.get("HTTP_USER_AGENT", "")
    return "SERVER_SOFTWARE" in request.environ or (
        "REMOTE_ADDR" in request.environ and not agent.startswith("Werkzeug/")
    )


@cache
def _warn_of_server(why: str) -> None:
    """Once in a process: nobody would see a plot, or why."""
    logger.warning("%s", why)


class _Page:
    """What the response of this request holds already."""

    __slots__ = ("has_token", "pulled", "resources")

    def __init__(self) -> None:
        self.resources = False
        self.has_token = False
        self.pulled: list[PulledSession] = []


def _page() -> _Page:
    # Not in flask.g, which outlives a request where an application context is around it.
    page: _Page = request.environ.setdefault("flask_bokeh.page", _Page())
    return page


def _resources(settings: Settings) -> Markup:
    assets = embed.assets(settings, root_url(settings))
    return render(
        "resources.html", assets=assets, nonce=_nonce(settings), answers_get=_answers_get()
    )


def _answers_get() -> bool:
    """Whether a browser that loads this page again repeats no more than a GET."""
    return request.method in ("GET", "HEAD")


def _nonce(settings: Settings) -> str:
    """The nonce of this request for a Content-Security-Policy; empty where there is none."""
    make = settings.csp_nonce or current_app.jinja_env.globals.get("csp_nonce")
    return str(make()) if callable(make) else ""


def _places(pulled: PulledSession, model: Model) -> list[tuple[Model, embed.Place]]:
    # BokehJS wants a place for every root, so the others get hidden ones.
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


def render(name: str, **values: Any) -> Markup:
    # Without the site's context processors: they may want a request, and a session that is
    # created on the IOLoop has none.
    template = current_app.jinja_env.get_template(f"flask_bokeh/{name}")
    return Markup(template.render(values))
