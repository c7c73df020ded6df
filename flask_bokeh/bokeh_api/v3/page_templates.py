"""Templates of applications' own pages, compiled so that what they show is escaped.

Bokeh's environments escape nothing, which is for files that an author makes. Our pages are on the
site's origin, where a title that a visitor chose could be a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from bokeh.core.templates import get_env
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup, escape

__all__ = ("escaping", "marked")

_HTML = ("bokeh_css", "bokeh_js", "plot_div", "plot_script")
"""What Bokeh gives to a template as HTML."""


def escaping(template: Template | str) -> Template:
    """Return a template that escapes its values.

    :param template: from Bokeh, of an application's ``templates`` folder, or a string. One that
        an application has made in a jinja2 environment of its own escapes as that says.
    """
    if isinstance(template, str):  # as Bokeh does it
        return _environment().from_string("{% extends base %}\n" + template)
    known = _compiled.get(template)
    if known is None:
        known = _compiled[template] = _compile(template)
    return known


def marked(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Bokeh gives to a template, with HTML marked as such, and the title escaped."""
    html = {name: Markup(context[name]) for name in _HTML if name in context}
    return {**context, **html, "title": escape(context["title"])}


@cache
def _environment() -> Environment:
    return get_env().overlay(autoescape=True)


def _compile(template: Template) -> Template:
    environment, folder = template.environment, Path(template.filename or "").parent
    if (
        template.name == "index.html"  # as Bokeh finds it for a directory
        and folder.name == "templates"
        and isinstance(environment.loader, FileSystemLoader)
        and environment.loader.searchpath == [str(folder)]
    ):
        return environment.overlay(autoescape=True).get_template(template.name)
    return template


_compiled: WeakKeyDictionary[Template, Template] = WeakKeyDictionary()
