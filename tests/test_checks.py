"""The checks of ``flask bokeh check``, without the command."""

from __future__ import annotations

import socket

from bokeh.models import Div
from flask import Flask

from flask_bokeh import FlaskBokeh
from flask_bokeh.checks import CHECKS, Result, run_checks


def test_each_check_runs_by_itself(app: Flask, bokeh: FlaskBokeh) -> None:
    """No check depends on another one, and each has its own name."""
    app.config["TRUSTED_HOSTS"] = ["example.org"]
    bokeh.add_application("/x", lambda doc: doc.add_root(Div(text="x")))
    bokeh.init_app(app)
    results = {}
    with app.app_context():
        for check in CHECKS:
            results[check.name] = [
                result.kind
                for result in check.run(app.extensions["bokeh"])
                if result.kind != "hint"
            ]
            bokeh.stop()
    assert len(results) == len(CHECKS)
    assert results == {
        "secret key": ["ok"],
        "trusted hosts": [],
        "WSGI servers": [],
        "file descriptors": [],
        "server": ["ok"],
        "runtime directory": ["ok"],
        "applications": ["ok"],
    }


def test_checks_end_after_an_essential_one_that_fails(app: Flask, bokeh: FlaskBokeh) -> None:
    """A server that does not start is one problem, not one for each application."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app.config["BOKEH_SERVER_OPTIONS"] = {"port": taken.getsockname()[1]}
        bokeh.add_application("/x", lambda doc: None)
        bokeh.init_app(app)
        with app.app_context():
            results = list(run_checks(app.extensions["bokeh"]))
    assert results[-1].kind == "problem"
    assert results[-1].text.startswith("The Bokeh server did not start")
    assert [result.kind for result in results].count("problem") == 1
    assert Result("ok", "a key signs the session tokens") in results
