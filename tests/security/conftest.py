"""A site with two applications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh

from ..support.limits import Clock


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh) -> FlaskClient:
    for path in ("/x", "/y"):
        bokeh.add_application(path, lambda doc: None)
    bokeh.init_app(app)

    @app.get("/show")
    def show() -> str:
        return render_template_string("{% bokeh '/x', a=1 %}")

    return app.test_client()


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()  # type: ignore[return-value]
