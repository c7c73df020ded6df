"""The pages. What they have to do with plots is a decorator or a tag in a template."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, session, url_for

from flask_bokeh import PulledSession

from . import plots
from .extensions import USERS, bokeh, current_user

blueprint = Blueprint("site", __name__)


@blueprint.app_context_processor
def everywhere() -> dict[str, Any]:
    """What every template may use."""
    return {"users": USERS, "user": current_user(), "source": source}


@blueprint.get("/")
def index() -> str:
    return render_template("index.html")


@blueprint.get("/sliders")
@bokeh.with_session("/sliders")
def sliders(bokeh_session: PulledSession) -> str:
    """Bring the wave into the shape that the visitor likes."""
    if user := current_user():
        document, likes = bokeh_session.document, USERS[user]
        document.select_one({"name": "title"}).value = f"{likes['name']}'s wave"
        for name, value in likes["wave"].items():
            document.select_one({"name": name}).value = value
    return render_template("sliders.html")


@blueprint.get("/penguins")
def penguins() -> str:
    return render_template("penguins.html")


@blueprint.get("/sea")
def sea() -> str:
    return render_template("sea.html")


@blueprint.get("/weather")
def weather() -> str:
    return render_template("weather.html")


@blueprint.post("/user")
def choose_user() -> Response:
    """Log in, as far as an example does."""
    session["user"] = request.form.get("user")
    target = request.form.get("next", "")
    pages = {url_for(f"site.{name}") for name in ("index", "sliders", "penguins", "sea", "weather")}
    return redirect(target if target in pages else url_for("site.index"))  # type: ignore[return-value]


def source(name: str) -> str:
    """The code of a function or the text of a file of this site, for the page to show."""
    functions: dict[str, Callable[..., Any]] = {
        "sliders": sliders,
        "choose_favourites": plots.penguins.choose_favourites,
        "sea": plots.sea.sea,
    }
    if name in functions:
        return inspect.getsource(functions[name])
    return (Path(__file__).parent / name).read_text()
