"""Guards of applications, in one process."""

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
def test_answer_of_a_guard_decides_the_status_of_a_page(
    bokeh: FlaskBokeh, site: FlaskClient, answer: Any, status: int
) -> None:
    """A guard returns True, False or a response, or raises; it may take the visit."""
    assert bokeh.guard("/x")(answer) is answer
    bokeh.guard("/y")(lambda: False)
    assert site.get("/show").status_code == status


def test_guard_that_returns_none_raises_type_error(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """A guard without a decision is an error and admits no visitor."""

    @bokeh.guard()
    def forgetful() -> Any:
        return None

    with app.test_request_context(), pytest.raises(TypeError, match="forgetful returned None"):
        bokeh.server_document("/x")


def test_guards_run_in_order_until_one_refuses(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """Guards of every application run before an application's own."""
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


def test_no_session_is_pulled_if_a_guard_refuses(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    bokeh.guard()(lambda: False)
    with app.test_request_context(), pytest.raises(Forbidden), bokeh.pull_session("/x"):
        pytest.fail("unreachable")
    assert app.extensions["bokeh"].servers.get().bokeh.get_sessions() == []


@pytest.mark.parametrize(("path", "guard"), [("x", lambda: True), ("/x", "no function")])
def test_invalid_guard_registrations_are_refused(bokeh: FlaskBokeh, path: str, guard: Any) -> None:
    """A guard must be a function, and its path must start with a slash."""
    with pytest.raises(RegistrationError):
        bokeh.guard(path)(guard)
