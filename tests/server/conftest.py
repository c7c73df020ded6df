"""A site whose sessions are pulled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Slider
from flask import Flask

from flask_bokeh import FlaskBokeh


@pytest.fixture
def calls() -> list[Any]:
    """The arguments with which the applications' Python callbacks were called."""
    return []


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, calls: list[Any]) -> Flask:
    """A site with an application that works, one that raises, and a slow one."""

    @bokeh.application("/ok")
    def ok(doc: Document) -> None:
        slider = Slider(start=0, end=10, value=1, name="k")
        slider.on_change("value", lambda attr, old, new: calls.append(new))
        doc.add_root(slider)
        doc.add_root(ColumnDataSource({"x": [1]}, name="data"))

    @bokeh.application("/raises")
    def raises(doc: Document) -> None:
        raise LookupError("the data are gone")

    @bokeh.application("/exits")
    def exits(doc: Document) -> None:
        raise SystemExit(3)

    @bokeh.application("/slow")
    def slow(doc: Document) -> None:
        time.sleep(1)
        doc.add_root(Slider(start=0, end=10, value=1, name="k"))

    bokeh.init_app(app)
    return app


@pytest.fixture
def context(site: Flask) -> Iterator[None]:
    with site.test_request_context():
        yield
