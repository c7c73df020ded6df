"""A site with hidden and public applications."""

from __future__ import annotations

from pathlib import Path

import pytest
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.models import Slider
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> FlaskClient:
    @bokeh.application("/hidden")
    def hidden(doc: Document) -> None:
        doc.add_root(Slider(start=0, end=1, value=0))

    @bokeh.application("/open", page=True)
    def public(doc: Document) -> None:
        hidden(doc)
        doc.title = f"year {doc.session_context.request.arguments['year'][0].decode()}"

    folder = tmp_path / "folder"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "own.txt").write_text("mine")
    (folder / "secret.txt").write_text("not for you")
    (folder / "main.py").write_text("")
    bokeh.add_application("/folder", folder)
    application = Application(FunctionHandler(hidden), metadata={"by": "us"})
    bokeh.add_application("/team/meta", application, page=True)
    bokeh.init_app(app)
    return app.test_client()
