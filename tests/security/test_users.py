"""User loaders and guards, and users in the log."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, redirect, request
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from flask_bokeh import FlaskBokeh, LimitError, TokenError, Visit

from ..support.upgrades import upgrade


@pytest.mark.parametrize(("said", "user"), [("ann", "ann"), (None, None), ("", None)])
def test_result_of_the_user_loader_is_the_user(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, said: Any, user: Any
) -> None:
    """None and the empty string mean that there is no user."""
    bokeh.user_loader(lambda: said)
    with app.test_request_context():
        assert app.extensions["bokeh"].authorizer.issue("/x").visit.user == user


def test_redirecting_guard_raises_outside_of_a_view(
    bokeh: FlaskBokeh, app: Flask, site: FlaskClient
) -> None:
    """The exception names the guard and its redirect; a view answers with the redirect."""

    @bokeh.guard("/x")
    def members() -> BaseResponse:
        return redirect("/login")

    with app.test_request_context(), pytest.raises(HTTPException) as caught:
        bokeh.server_document("/x")
    assert str(caught.value).endswith("members of /x answered 302 FOUND to /login.")
    assert site.get("/show").location == "/login"


@pytest.mark.parametrize("user", ["ann", None])
def test_a_refusal_is_logged_with_user_and_address(
    bokeh: FlaskBokeh, site: FlaskClient, caplog: pytest.LogCaptureFixture, user: str | None
) -> None:
    """The log line of a refused WebSocket names the user and the client's address."""
    bokeh.user_loader(lambda: user)
    assert upgrade(site, "/bokeh/x/ws", "nonsense").status_code == 403
    who = "user 'ann'" if user else "a visitor without a user"
    assert f"Refused a WebSocket of /x to {who} at 127.0.0.1: " in caplog.text


def test_a_limit_is_logged_with_user_and_address(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a refused session names the limit, the user and the address."""

    @app.get("/full")
    def full() -> str:
        raise LimitError("max_sessions", 3, "full")

    bokeh.user_loader(lambda: "ann")
    assert site.get("/full").status_code == 503
    assert "Refused a session to user 'ann' at 127.0.0.1: BOKEH_MAX_SESSIONS is 3." in caplog.text


def test_user_loader_that_returns_a_number_raises_type_error(
    bokeh: FlaskBokeh, app: Flask, site: FlaskClient
) -> None:
    """The error names the loader, its value and the accepted types."""

    @bokeh.user_loader
    def number() -> Any:
        return 7

    with app.test_request_context(), pytest.raises(TypeError, match=r"number returned 7; .*str\("):
        bokeh.server_document("/x")


def test_user_loader_may_be_async(bokeh: FlaskBokeh, app: Flask, site: FlaskClient) -> None:
    """User loaders and guards may be async functions, as views may."""
    pytest.importorskip("asgiref", reason="async views need Flask's async extra")

    @bokeh.user_loader
    async def user() -> str:
        return "ann"

    @bokeh.guard()
    async def guard(visit: Visit) -> bool:
        return visit.user == "ann"

    with app.test_request_context():
        assert app.extensions["bokeh"].authorizer.issue("/x").visit.user == "ann"


def test_session_pulled_on_behalf_of_a_user_opens_for_its_puller(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """The user for whom a session was pulled may not open it."""
    bokeh.user_loader(lambda: request.headers.get("User"))
    state = app.extensions["bokeh"]
    with (
        app.test_request_context(headers={"User": "boss"}),
        bokeh.pull_session("/x", user="ann") as session,
    ):
        assert session.token.visit.user == "ann"
    with app.test_request_context(headers={"User": "ann"}), pytest.raises(TokenError):
        state.authorizer.authorize("/x", session.token.encoded, state.integration.identify())
    with app.test_request_context(headers={"User": "boss"}):
        state.authorizer.authorize("/x", session.token.encoded, state.integration.identify())
