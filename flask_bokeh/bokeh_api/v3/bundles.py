"""The files and scripts of BokehJS and its extensions. Thread-safe."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from traceback import walk_tb
from typing import Any

from bokeh.embed.bundle import (
    URL,
    Bundle,
    Script,
    bundle_for_objs_and_resources,
    extension_dirs,
)
from bokeh.model import Model
from bokeh.resources import Resources
from bokeh.settings import settings as bokeh_settings
from bokeh.util.compiler import bundle_models

from ...file_versions import content_version
from ...settings import Settings
from .custom_models import bundle_what_compiles

__all__ = ("bokehjs_bundle", "static_folder")

_STATIC = "/static/"


def static_folder(extension: str | None = None) -> str | None:
    """Return the folder of BokehJS, or of an extension's files; None for an unknown extension."""
    if extension is None:
        return str(bokeh_settings.bokehjs_path())
    folder = extension_dirs.get(extension)
    return None if folder is None else str(folder)


def bokehjs_bundle(settings: Settings, root_url: str) -> Bundle:
    """Return the files and scripts of BokehJS, and of every extension that has been imported.

    :param root_url: the URL of the blueprint, with a slash at the end.
    """
    # Extensions register their models when they are imported, which may come late.
    models = len(Model.model_class_reverse_map)
    with _bundling:  # compiling takes seconds, and must not be done twice
        cached = _bundle(settings.resources, settings.minified, models)
    # A client can choose the root_url (Host, SCRIPT_NAME), so it is not part of the cache's key.
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
    """Return the bundle of a page, without the custom models that can't be compiled."""
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
    """Return the bundle that Bokeh had made when it failed to compile the custom models.

    There is no public way to leave them out. ``tests/applications/test_custom_models.py`` fails
    when Bokeh changes these local variables. Checked on Bokeh 3.9.2 and 3.10.2.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    codes = [frame.f_code for frame in frames]
    if bundle_models.__code__ not in codes:
        return None
    found = frames[codes.index(bundle_for_objs_and_resources.__code__)].f_locals
    return Bundle(*(found[name] for name in ("js_files", "js_raw", "css_files", "css_raw")))


def _versioned(url: str) -> str:
    """Return the URL of a file with the hash of its content, if the site serves the file.

    Bokeh adds the extension's version number to the files of an extension instead.
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
