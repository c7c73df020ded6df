"""A site with custom models in TypeScript, of which one does not compile."""

from __future__ import annotations

import os
from pathlib import Path

from bokeh.document import Document
from bokeh.models import Div, Slider
from bokeh.util.compiler import TypeScript
from flask import Flask, render_template_string

from flask_bokeh import FlaskBokeh

from .site import PAGE

CODE = """
import {Div, DivView} from "models/widgets/div"

export class GoodView extends DivView {
  declare model: Good
  override render(): void { super.render(); this.el.title = "compiled" }
}

export class Good extends Div {
  declare __view_type__: GoodView
  static { this.prototype.default_view = GoodView }
}
"""


class Good(Div):
    __implementation__ = TypeScript(CODE)


class Bad(Div):
    __implementation__ = TypeScript("export class Bad extends { nonsense")


def plain(doc: Document) -> None:
    doc.add_root(Slider(start=0, end=10, value=1, title="plain"))


def good(doc: Document) -> None:
    doc.add_root(Good(text="good"))


def bad(doc: Document) -> None:
    doc.add_root(Bad(text="bad"))


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a secret key for the tests only"
    bokeh = FlaskBokeh()
    for function in (plain, good, bad):
        bokeh.add_application(f"/{function.__name__}", function, page=True)
    bokeh.add_application("/script", Path(__file__).parent / "custom_script" / "script.py")
    bokeh.init_app(app)

    @app.get("/show/<names>")
    def show(names: str) -> str:
        body = "".join(f"{{% bokeh '/{name}' %}}" for name in names.split(","))
        return render_template_string(PAGE.format(body=body))

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/favicon.ico")
    def favicon() -> tuple[str, int]:
        return "", 204

    return app
