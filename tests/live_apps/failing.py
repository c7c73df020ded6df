"""An application whose callbacks raise errors with secrets in their messages."""

from __future__ import annotations

from functools import partial

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import Button, PasswordInput, Slider, TextInput
from flask import Flask, render_template_string, request

from flask_bokeh import FlaskBokeh

from .configured import configured

bokeh = FlaskBokeh()


@bokeh.application("/failing")
def failing(doc: Document) -> None:
    button = Button(label="fail", name="button")
    password = PasswordInput(name="password")
    note = TextInput(name="note")
    slider = Slider(start=0, end=9, value=1, name="slider")

    def click() -> None:
        raise ValueError("INSERT INTO salaries VALUES ('OURS-ALONE')")

    def log_in(attr: str, old: str, new: str) -> None:
        raise PermissionError(f"wrong password: {new!r}")  # this line is to be found

    def write(attr: str, old: str, new: str) -> None:
        slider.value = new

    def log_in_later(attr: str, old: str, new: str) -> None:
        doc.add_next_tick_callback(partial(look_up, new))

    def look_up(password: str) -> None:
        raise PermissionError("nobody waits for this")

    later = PasswordInput(name="later")
    later.on_change("value", log_in_later)
    button.on_click(click)
    password.on_change("value", log_in)
    note.on_change("value", write)
    doc.add_root(column(button, password, later, note, slider))


@bokeh.user_loader
def user() -> str | None:
    return request.args.get("user")


def create_app() -> Flask:
    app = configured(__name__)
    bokeh.init_app(app)

    @app.get("/")
    def index() -> str:
        icon = "<link rel=icon href='data:,'>"
        return render_template_string(f"<!doctype html>{icon}<body>{{% bokeh '/failing' %}}")

    @app.get("/raises")
    def raises() -> str:
        app.logger.warning("told %s", request.args["what"])
        raise ValueError(request.args["what"])

    return app
