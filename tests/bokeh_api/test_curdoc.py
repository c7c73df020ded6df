"""curdoc() in views, callbacks and scripts."""

from __future__ import annotations

import gc
import threading
import time
from contextvars import Context
from pathlib import Path

import pytest
from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.models import Slider
from flask import Flask

from flask_bokeh import FlaskBokeh
from flask_bokeh.bokeh_api import isolate_curdoc


def test_curdoc_is_separate_in_scripts_and_views(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path
) -> None:
    """A script on the loop and a view that edits a pulled session see their own documents."""
    (tmp_path / "script.py").write_text(
        "import time\n"
        "from bokeh.io import curdoc\n"
        "from bokeh.models import Div\n"
        "for n in range(20):\n"
        "    time.sleep(0.001)\n"
        "    curdoc().add_root(Div(text=f'script {n}'))\n"
    )
    bokeh.add_application("/script", tmp_path / "script.py")
    wrong: list[str] = []

    @bokeh.application("/edited")
    def edited(doc: Document) -> None:
        slider = Slider(start=0, end=1000, value=0, name="k")

        def changed(attr: str, old: int, new: int) -> None:
            time.sleep(0.001)
            if curdoc() is not doc:
                wrong.append("a callback got another document")

        slider.on_change("value", changed)
        doc.add_root(slider)

    bokeh.init_app(app)
    done = threading.Event()

    def edit() -> None:
        while not done.is_set():
            with app.test_request_context(), bokeh.pull_session("/edited") as session:
                for value in range(1, 20):
                    session.document.select_one({"name": "k"}).value = value
                if len(session.document.roots) != 1:
                    wrong.append(f"{len(session.document.roots)} roots")

    editing = threading.Thread(target=edit)
    editing.start()
    try:
        for _ in range(10):
            with app.test_request_context(), bokeh.pull_session("/script") as session:
                if len(session.document.roots) != 20:
                    wrong.append(f"{len(session.document.roots)} roots of the script")
    finally:
        done.set()
        editing.join(60)
    assert wrong == []


def test_curdoc_is_restored_after_an_error(app: Flask, bokeh: FlaskBokeh) -> None:
    """A callback that raises in a view leaves curdoc() as it was."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        slider = Slider(start=0, end=9, value=0, name="k")
        slider.on_change("value", lambda attr, old, new: 1 / 0)
        doc.add_root(slider)

    bokeh.init_app(app)

    def edit() -> None:
        before = curdoc()
        with (
            app.test_request_context(),
            pytest.raises(ZeroDivisionError),
            bokeh.pull_session("/x") as session,
        ):
            session.document.select_one({"name": "k"}).value = 5
        gc.collect()
        assert curdoc() is before

    isolate_curdoc()
    # On Bokeh 3.9, failed callbacks of other tests have left their documents in this thread.
    Context().run(edit)
