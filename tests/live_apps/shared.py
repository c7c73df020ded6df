"""An application whose sessions share their data, as the documentation advises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.document import Document
from bokeh.models import Button, ColumnDataSource, TextInput
from flask import Flask, Response, jsonify, render_template_string

from flask_bokeh import FlaskBokeh

from .configured import configured

bokeh = FlaskBokeh()


def images() -> np.ndarray[Any, Any]:
    column = np.empty(3, dtype=object)
    for index in range(3):
        column[index] = np.zeros((2, 2))
    return column


FLAT: dict[str, Any] = {
    "list": [0, 0, 0],
    "array": np.zeros(3),
    "series": pd.Series([0, 0, 0]),
    "objects": np.array(["", "", ""], dtype=object),
}
NESTED: dict[str, Any] = {
    "image": [np.zeros((2, 2)) for _ in range(3)],
    "images": images(),
    "cube": np.zeros((3, 2, 2)),
    "lines": [[0, 0], [0, 0], [0, 0]],
}
READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False


@bokeh.application("/shared")
def shared(doc: Document) -> None:
    flat = ColumnDataSource(data=FLAT, name="flat")
    nested = ColumnDataSource(NESTED, name="nested")
    again = ColumnDataSource(name="again")
    fixed = ColumnDataSource({"fixed": READ_ONLY}, name="fixed")
    lists = ColumnDataSource({"list": FLAT["list"]}, name="lists")
    text = TextInput(name="text")

    def typed(attr: str, old: str, new: str) -> None:
        """Put shared data into a source while a message is handled."""
        again.data = {"array": FLAT["array"], "list": FLAT["list"]}

    def click() -> None:
        lists.stream({"list": [7]})
        flat.patch({"array": [(0, 7)]})

    text.on_change("value", typed)
    button = Button(name="button")
    button.on_click(click)
    for model in (flat, nested, again, fixed, lists, text, button):
        doc.add_root(model)


def create_app() -> Flask:
    app = configured(__name__)
    bokeh.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template_string("{% bokeh '/shared' %}")

    @app.get("/data")
    def data() -> Response:
        columns = FLAT | NESTED
        return jsonify({name: np.array(list(values)).tolist() for name, values in columns.items()})

    return app
