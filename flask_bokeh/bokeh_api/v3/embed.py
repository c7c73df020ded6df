"""Pages and scripts that show a session, made with ``bokeh.embed``. Thread-safe.

This module works with strings and Bokeh objects only; the markup around them is in
``templates/flask_bokeh``. Bokeh 4 is to replace ``autoload.js`` and render items (bokeh issue
15413).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bokeh.core.templates import AUTOLOAD_JS
from bokeh.embed.bundle import Bundle, Script
from bokeh.embed.elements import html_page_for_render_items, script_for_render_items
from bokeh.embed.util import RenderItem
from bokeh.model import Model
from bokeh.util.serialization import make_globally_unique_css_safe_id
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...settings import Settings
from ..interface import BokehSession
from .bundles import bokehjs_bundle, static_folder
from .page_templates import escaping, marked

__all__ = (
    "Assets",
    "PageParts",
    "Place",
    "assets",
    "autoload_script",
    "new_element_id",
    "page",
    "plot_script",
    "static_folder",
    "url_path",
)


@dataclass(frozen=True, slots=True)
class Assets:
    """Files and scripts that a page must load before it can show a plot."""

    js_files: tuple[str, ...]
    js_raw: tuple[str, ...]
    css_files: tuple[str, ...]
    css_raw: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PageParts:
    """Parts of an application's page that depend on the request."""

    token: str = field(repr=False)
    """The encoded token of the session."""
    resources: str
    """The markup that loads BokehJS."""
    nonce: str = field(repr=False)
    """The nonce for a Content-Security-Policy; empty if there is none."""
    app_url: str
    """The URL path of the application."""
    status_url: str
    """The URL path that returns whether the session still exists."""


@dataclass(frozen=True, slots=True)
class Place:
    """An element of the page for one root of a document."""

    element_id: str
    root_id: str
    visible: bool


def assets(settings: Settings, root_url: str) -> Assets:
    """Return the assets of BokehJS and of every extension that has been imported.

    :param root_url: the URL path of the blueprint, with a slash at the end.
    """
    bundle = bokehjs_bundle(settings, root_url)
    return Assets(
        js_files=tuple(map(str, bundle.js_files)),
        js_raw=tuple(bundle.js_raw),
        css_files=tuple(map(str, bundle.css_files)),
        css_raw=tuple(bundle.css_raw),
    )


def plot_script(
    token: str,
    element_id: str,
    *,
    app_url: str,
    status_url: str,
    answers_get: bool,
    server_url: str | None = None,
    places: Sequence[tuple[Model, Place]] = (),
) -> Markup:
    """Return the ``<script>`` with the data of a plot, which the code in ``js/src`` finds.

    It holds JSON, which a browser does not run, so it needs no nonce.

    :param app_url: the URL path of the application on its server, from :func:`url_path`.
    :param status_url: the URL path that returns whether the session still exists.
    :param answers_get: True if the page is the response to a GET request, so that a reload is safe.
    :param server_url: scheme, host and port of the server, if they are not those of the page.
    :param places: the place of each root; without it, the element has all roots.
    """
    item = _render_item(token, None if places else element_id, places)
    return _plot_script(item, app_url, server_url, status_url, answers_get)


def _plot_script(
    item: RenderItem, app_url: str, server_url: str | None, status_url: str, answers_get: bool
) -> Markup:
    plot = {
        "item": item.to_json(),
        "app_url": app_url,
        "server_url": server_url,
        "status_url": status_url,
        "answers_get": answers_get,
    }
    data = htmlsafe_json_dumps(plot, separators=(",", ":"))
    return Markup('<script type="application/json" data-flask-bokeh>{}</script>').format(data)


def _render_item(
    token: str, element_id: str | None, places: Sequence[tuple[Model, Place]] = ()
) -> RenderItem:
    return RenderItem(
        token=token,
        elementid=element_id,  # type: ignore[arg-type]
        roots={root: place.element_id for root, place in places},  # type: ignore[misc]
        use_for_title=False,
    )


def autoload_script(
    settings: Settings,
    token: str,
    element_id: str,
    *,
    app_url: str,
    server_url: str,
    root_url: str,
    resources: bool,
) -> str:
    """Return Bokeh's ``autoload.js``: it loads BokehJS if the page has none, and shows a session.

    :param resources: whether to load BokehJS.
    """
    bundle = Bundle()
    if resources:
        cached = bokehjs_bundle(settings, root_url)
        bundle = Bundle(cached.js_files, cached.js_raw, cached.css_files, cached.css_raw)
        bundle.add(Script(f'Bokeh.set_log_level("{settings.log_level}");'))
    item = _render_item(token, element_id)
    script = script_for_render_items({}, [item], app_path=app_url, absolute_url=server_url)
    bundle.add(Script(str(script)))
    return str(AUTOLOAD_JS.render(bundle=bundle, elementid=element_id))


def page(session: BokehSession, parts: PageParts) -> str:
    """Return the page of an application: its own template, or Bokeh's, around its document."""
    document = session.document
    item = RenderItem(token=parts.token, roots=document.roots, use_for_title=True)
    script = _plot_script(item, parts.app_url, None, parts.status_url, answers_get=True)
    html = html_page_for_render_items(
        (parts.resources, ""),
        {},
        [item],
        document.title,
        template=_PageTemplate(document.template, script, parts.nonce),  # type: ignore[arg-type]
        template_variables=document.template_variables,
    )
    return str(html)


class _PageTemplate:
    """A template of Bokeh or of an application, with our script in the place of Bokeh's."""

    def __init__(self, template: Any, script: Markup, nonce: str) -> None:
        self._template = escaping(template)
        self._more = {"plot_script": script, "csp_nonce": nonce}

    def render(self, context: dict[str, Any]) -> str:
        return str(self._template.render(marked(context | self._more)))


def new_element_id() -> str:
    """Return a new, unique ID for an element."""
    return make_globally_unique_css_safe_id()


def url_path(*parts: str) -> str:
    """Join and quote parts of a URL path, for use in a URL, in HTML and in a script.

    A prefix can come from a request header (``SCRIPT_NAME`` behind a proxy), and Bokeh's
    template inserts the path into a script without escaping it.
    """
    return quote("".join(parts), safe="/:[]-._~")
