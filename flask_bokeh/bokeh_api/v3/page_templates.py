"""Compile the templates of applications' pages with autoescaping.

Bokeh's environments escape nothing, which suits files that an author renders. These pages are on
the site's origin, where a title that a visitor chose could be a script.
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
"""Names of the template variables that Bokeh passes as HTML."""


def escaping(template: Template | str) -> Template:
    """Return a template that escapes its values.

    :param template: from Bokeh, from an application's ``templates`` folder, or a string. A template
        of an application's own jinja2 environment is returned as it is.
    """
    if isinstance(template, str):  # Bokeh compiles it the same way
        return _environment().from_string("{% extends base %}\n" + template)
    known = _compiled.get(template)
    if known is None:
        known = _compiled[template] = _compile(template)
    return known


def marked(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return template variables, with HTML marked as such and the title escaped."""
    html = {name: Markup(context[name]) for name in _HTML if name in context}
    return {**context, **html, "title": escape(context["title"])}


@cache
def _environment() -> Environment:
    return get_env().overlay(autoescape=True)


def _compile(template: Template) -> Template:
    environment, folder = template.environment, Path(template.filename or "").parent
    if (
        template.name == "index.html"  # the template that Bokeh finds in a directory
        and folder.name == "templates"
        and isinstance(environment.loader, FileSystemLoader)
        and environment.loader.searchpath == [str(folder)]
    ):
        return environment.overlay(autoescape=True).get_template(template.name)
    return template


_compiled: WeakKeyDictionary[Template, Template] = WeakKeyDictionary()
