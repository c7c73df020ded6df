"""Guards, in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort, redirect
from flask.testing import FlaskClient
from werkzeug.exceptions import Forbidden, Unauthorized

from flask_bokeh import FlaskBokeh, RegistrationError


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda: True, 200),
        (lambda: False, 403),
        (lambda: abort(404), 404),
        (lambda: redirect("/login"), 302),
        (lambda visit: visit.arguments == {"a": "1"}, 200),
        (lambda visit=None: visit is None, 200),
    ],
)
def test_guards(bokeh: FlaskBokeh, site: FlaskClient, answer: Any, status: int) -> None:
    """A guard says yes, no, or what the page is instead; with or without the visit."""
    assert bokeh.guard("/x")(answer) is answer
    bokeh.guard("/y")(lambda: False)
    assert site.get("/show").status_code == status


def test_a_guard_that_forgets_to_answer(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """Neither yes nor no is an error, and lets nobody in."""

    @bokeh.guard()
    def forgetful() -> Any:
        return None

    with app.test_request_context(), pytest.raises(TypeError, match="forgetful returned None"):
        bokeh.server_document("/x")


def test_all_guards_are_asked(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """Those of every application and the application's own, until one refuses."""
    asked: list[str] = []

    def guard(name: str, answer: Callable[[], Any]) -> Callable[[], Any]:
        def called() -> Any:
            asked.append(name)
            return answer()

        return called

    bokeh.guard()(guard("all", lambda: True))
    bokeh.guard("/x")(guard("x", lambda: abort(401)))
    bokeh.guard("/x")(guard("too late", lambda: True))
    with app.test_request_context(), pytest.raises(Unauthorized):
        bokeh.server_document("/x")
    assert asked == ["all", "x"]


def test_a_guard_comes_before_the_session(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """pull_session makes nothing for whom a guard refuses."""
    bokeh.guard()(lambda: False)
    with app.test_request_context(), pytest.raises(Forbidden), bokeh.pull_session("/x"):
        pytest.fail("unreachable")
    assert app.extensions["bokeh"].servers.get().bokeh.get_sessions() == []


@pytest.mark.parametrize(("path", "guard"), [("x", lambda: True), ("/x", "no function")])
def test_bad_guards(bokeh: FlaskBokeh, path: str, guard: Any) -> None:
    """A guard is a function, for a path that starts with a slash."""
    with pytest.raises(RegistrationError):
        bokeh.guard(path)(guard)
