"""The pages. Each shows a plot by a decorator, or by a tag in its template."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_login import current_user, login_required

from flask_bokeh import PulledSession

from .extensions import bokeh

__all__ = ("blueprint",)

blueprint = Blueprint("site", __name__)


@blueprint.get("/")
def index() -> str:
    return render_template("index.html")


@blueprint.get("/sliders")
@bokeh.with_session("/sliders")
def sliders(bokeh_session: PulledSession) -> str:
    """Give the wave the shape that the user saved."""
    if current_user.is_authenticated:
        document = bokeh_session.document
        document.select_one({"name": "title"}).value = f"{current_user.name}'s wave"
        for name, value in current_user.wave.items():
            document.select_one({"name": name}).value = value
    return render_template("sliders.html")


@blueprint.get("/penguins")
def penguins() -> str:
    return render_template("penguins.html")


@blueprint.get("/budget")
@login_required
def budget() -> str:
    return render_template("budget.html")


@blueprint.get("/sea")
def sea() -> str:
    return render_template("sea.html")


@blueprint.get("/weather")
def weather() -> str:
    return render_template("weather.html")
