"""Our Jinja templates: ``templates/flask_bokeh/*.html``.

A site may replace each of them by a file of the same name in its own template folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import current_app
from markupsafe import Markup

__all__ = ("render", "template_folder")


def template_folder() -> str:
    """Return our template folder: in the package when installed, beside it in a checkout.

    An editable install maps a top-level folder into the package in the wheel only.
    """
    package = Path(__file__).parent.parent
    inside = package / "templates"
    return str(inside if inside.is_dir() else package.parent / "templates")


def render(name: str, **values: Any) -> Markup:
    """Render one of our templates, in an application context.

    The site's context processors do not run: they may need a request, which a session that is
    created on the IOLoop does not have.
    """
    template = current_app.jinja_env.get_template(f"flask_bokeh/{name}")
    return Markup(template.render(values))
