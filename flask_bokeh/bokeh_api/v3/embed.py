"""The one adapter for ``bokeh.embed``: BokehJS, and the scripts that show a session.

Bokeh 4 is to replace ``autoload.js`` and render items (bokeh issue 15413); what changes then
changes here. Works with strings and Bokeh objects only; the markup around them is in
``templates/flask_bokeh``. Any thread may call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from traceback import walk_tb
from typing import Any
from urllib.parse import quote

from bokeh.core.templates import AUTOLOAD_JS
from bokeh.embed.bundle import (
    URL,
    Bundle,
    Script,
    bundle_for_objs_and_resources,
    extension_dirs,
)
from bokeh.embed.elements import html_page_for_render_items, script_for_render_items
from bokeh.embed.util import RenderItem
from bokeh.model import Model
from bokeh.resources import Resources
from bokeh.settings import settings as bokeh_settings
from bokeh.util.compiler import bundle_models
from bokeh.util.serialization import make_globally_unique_css_safe_id
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...file_versions import content_version
from ...settings import Settings
from ..interface import BokehSession
from .custom_models import bundle_what_compiles
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

_STATIC = "/static/"


@dataclass(frozen=True, slots=True)
class Assets:
    """What a page must load before it can show anything."""

    js_files: tuple[str, ...]
    js_raw: tuple[str, ...]
    css_files: tuple[str, ...]
    css_raw: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PageParts:
    """What a page of an application gets from the request."""

    token: str = field(repr=False)
    resources: str
    """The markup that loads BokehJS."""
    nonce: str = field(repr=False)
    app_url: str
    status_url: str


@dataclass(frozen=True, slots=True)
class Place:
    """An element of the page for one root of a document."""

    element_id: str
    root_id: str
    visible: bool


def assets(settings: Settings, root_url: str) -> Assets:
    """BokehJS and the models of every extension that is imported.

    :param root_url: the URL path of the blueprint.
    """
    bundle = _cached_bundle(settings, root_url)
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
    :param status_url: where the page asks what has become of its session.
    :param answers_get: whether a browser that loads the page again repeats no more than a GET.
    :param server_url: scheme, host and port, if they are not those of the page.
    :param places: where each root goes; without it, all go into the element.
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
    """Bokeh's ``autoload.js``: loads BokehJS if the page has none, then shows a session.

    :param resources: whether to load BokehJS.
    """
    bundle = Bundle()
    if resources:
        cached = _cached_bundle(settings, root_url)
        bundle = Bundle(cached.js_files, cached.js_raw, cached.css_files, cached.css_raw)
        bundle.add(Script(f'Bokeh.set_log_level("{settings.log_level}");'))
    item = _render_item(token, element_id)
    script = script_for_render_items({}, [item], app_path=app_url, absolute_url=server_url)
    bundle.add(Script(str(script)))
    return str(AUTOLOAD_JS.render(bundle=bundle, elementid=element_id))


def page(session: BokehSession, parts: PageParts) -> str:
    """The page of an application: its own template, or Bokeh's, around its document."""
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
    """A template of Bokeh's or an application's, with our script in place of Bokeh's own."""

    def __init__(self, template: Any, script: Markup, nonce: str) -> None:
        self._template = escaping(template)
        self._more = {"plot_script": script, "csp_nonce": nonce}

    def render(self, context: dict[str, Any]) -> str:
        return str(self._template.render(marked(context | self._more)))


def new_element_id() -> str:
    """An id for an element, that no other element has."""
    return make_globally_unique_css_safe_id()


def static_folder(extension: str | None = None) -> str | None:
    """The folder of BokehJS, or of an extension's files; None for an unknown extension."""
    if extension is None:
        return str(bokeh_settings.bokehjs_path())
    folder = extension_dirs.get(extension)
    return None if folder is None else str(folder)


def url_path(*parts: str) -> str:
    """Join and quote, so that the result may stand in a URL, in HTML and in a script.

    A prefix can come from a request header (``SCRIPT_NAME`` behind a proxy), and Bokeh's
    template puts the path into a script as it is.
    """
    return quote("".join(parts), safe="/:[]-._~")


def _cached_bundle(settings: Settings, root_url: str) -> Bundle:
    # Extensions register their models when they are imported, which may come late.
    models = len(Model.model_class_reverse_map)
    with _bundling:  # compiling takes seconds, and the others would do it, too
        cached = _bundle(settings.resources, settings.minified, models)
    # A client chooses what root_url says (Host, SCRIPT_NAME), so nothing is kept for each of them.
    js_files, css_files = (
        [URL(root_url + url[1:] if url.startswith(_STATIC) else url) for url in map(str, urls)]
        for urls in (cached.js_files, cached.css_files)
    )
    return Bundle(js_files, cached.js_raw, css_files, cached.css_raw)


_bundling = Lock()


@lru_cache(maxsize=16)
def _bundle(mode: str, minified: bool, models: int) -> Bundle:
    options: dict[str, Any] = {"minified": minified}
    if mode.startswith("server"):
        options["root_url"] = "/"
    resources = Resources(mode=mode, **options)  # type: ignore[arg-type]
    bundle = _bundle_for(resources)
    # Our own code sets the log level: an inline script would need a nonce.
    bundle.js_raw = [js for js in bundle.js_raw if not js.startswith("Bokeh.set_log_level(")]
    bundle.js_files = [URL(_versioned(str(url))) for url in bundle.js_files]
    bundle.css_files = [URL(_versioned(str(url))) for url in bundle.css_files]
    return bundle


def _bundle_for(resources: Resources) -> Bundle:
    """Return what a page needs, without the custom models that can't be compiled."""
    try:
        return bundle_for_objs_and_resources(None, resources)
    except (Exception, SystemExit) as error:  # a custom model can't be compiled
        bundle = _made_before(error)
        if bundle is None:
            raise
    if script := bundle_what_compiles():
        bundle.add(Script(script))
    return bundle


def _made_before(error: BaseException) -> Bundle | None:
    """Return what Bokeh had put together when it came to the custom models, and failed.

    There is no public way to leave them out. ``tests/test_custom_models.py`` fails when it moves.
    Checked on Bokeh 3.9.2 and 3.10.2.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    codes = [frame.f_code for frame in frames]
    if bundle_models.__code__ not in codes:
        return None
    found = frames[codes.index(bundle_for_objs_and_resources.__code__)].f_locals
    return Bundle(*(found[name] for name in ("js_files", "js_raw", "css_files", "css_raw")))


def _versioned(url: str) -> str:
    """The URL of a file that we serve, with the hash of its content.

    Bokeh gives the files of an extension one of the extension's version number.
    """
    path = url.partition("?")[0]
    if not path.startswith(_STATIC) or bokeh_settings.dev:
        return url
    folder, name = static_folder(), path.removeprefix(_STATIC)
    if name.startswith("extensions/"):
        _, extension, name = name.split("/", 2)
        folder = static_folder(extension)
    version = None if folder is None else content_version(Path(folder, name))
    return url if version is None else f"{path}?v={version}"
