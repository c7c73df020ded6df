"""Limits of sessions, in one process."""

from __future__ import annotations

from typing import Any

import pytest
from bokeh.document import Document
from flask import Flask

from flask_bokeh import FlaskBokeh, LimitError
from flask_bokeh.security.limits import WAIT
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.tokens import Token

from ..support.limits import ANN, Clock, context, limits_of, token


def test_unconfirmed_reservation_expires(clock: Clock) -> None:
    """A reservation whose session is never created is released after WAIT seconds."""
    limits = limits_of(clock, max_sessions=1)
    never, other = token(), token()
    assert limits.reserve(never, ANN) is True
    assert limits.reserve(never, ANN) is False
    with pytest.raises(LimitError) as caught:
        limits.reserve(other, ANN)
    assert (caught.value.setting, caught.value.limit) == ("BOKEH_MAX_SESSIONS", 1)
    clock.now += WAIT + 1
    assert limits.reserve(other, ANN) is True
    limits.confirm(other, context)
    clock.now += 10 * WAIT
    with pytest.raises(LimitError):
        limits.confirm(never, context)
    limits.release(other.visit.session_id, context)
    limits.confirm(never, context)


def test_check_reserves_nothing(clock: Clock) -> None:
    """check() uses up neither a session nor the rate."""
    limits = limits_of(clock, max_sessions=1, max_session_rate=1)
    for _ in range(5):
        limits.check(token(), ANN)
    limits.reserve(token(), ANN)
    with pytest.raises(LimitError):
        limits.check(token(), ANN)


def test_session_rate_refills_over_time(clock: Clock) -> None:
    """A principal may use the rate at once, and again as time passes; others have their own."""
    limits = limits_of(clock, max_session_rate=60)
    for _ in range(60):
        limits.reserve(token(), ANN)
    with pytest.raises(LimitError, match="wait a minute"):
        limits.reserve(token(), ANN)
    bob = Principal(user="bob", address="192.0.2.1")
    limits.reserve(token(bob), bob)
    nobody = Principal(browser="b", address="192.0.2.1")
    limits.reserve(token(nobody), nobody)
    clock.now += 2
    for _ in range(2):
        limits.reserve(token(), ANN)
    with pytest.raises(LimitError):
        limits.reserve(token(), ANN)


def test_visitors_without_a_user_share_the_rate_of_an_address(clock: Clock) -> None:
    """A visitor who deletes the cookie is still counted by address."""
    limits = limits_of(clock, max_session_rate=3)
    for number in range(3):
        nobody = Principal(browser=str(number), address="192.0.2.1")
        limits.reserve(token(nobody), nobody)
    other = Principal(browser="other", address="192.0.2.1")
    with pytest.raises(LimitError):
        limits.reserve(token(other), other)
    limits.reserve(token(other), Principal(browser="other", address="192.0.2.2"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1:4000", "192.0.2.1:4001", True),  # as some proxies write it
        ("[2001:db8::1]:4000", "2001:db8::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),  # not known
        ("unknown", "unknown", True),
        ("", "192.0.2.1", False),
    ],
)
def test_addresses_of_one_client_count_as_one(
    clock: Clock, one: str, other: str, same: bool
) -> None:
    """An IPv6 client has 2 to the 64 addresses, which count as one."""
    for setting in ("max_session_rate", "max_sessions_per_address"):
        limits = limits_of(clock, **{setting: 1})
        first, second = (Principal(browser=name, address=name) for name in (one, other))
        limits.reserve(token(first), first)
        if same:
            with pytest.raises(LimitError):
                limits.reserve(token(second), second)
        else:
            limits.reserve(token(second), second)


def test_clients_of_a_unix_socket_are_one_address(app: Flask, bokeh: FlaskBokeh) -> None:
    """Clients without an address share one limit; a script's own requests have none."""
    app.config["BOKEH_MAX_SESSIONS_PER_ADDRESS"] = 1
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    environ = {"SERVER_SOFTWARE": "gunicorn", "REMOTE_ADDR": ""}
    statuses = [
        app.test_client().get("/bokeh/x", environ_overrides=environ).status_code for _ in range(2)
    ]
    assert statuses == [200, 503]
    with app.test_request_context(), bokeh.pull_session("/x"), bokeh.pull_session("/x"):
        pass


def test_reservation_ends_with_its_session(clock: Clock) -> None:
    """A session created again under its ID keeps its reservation when the earlier one ends."""
    limits = limits_of(clock, max_sessions=1)
    one, again = token(), object()
    limits.confirm(one, context)
    limits.confirm(one, again)
    limits.release(one.visit.session_id, context)
    with pytest.raises(LimitError):
        limits.reserve(token(), ANN)
    limits.release(one.visit.session_id, again)
    limits.reserve(token(), ANN)


def test_view_may_catch_limit_error(app: Flask, bokeh: FlaskBokeh) -> None:
    """LimitError is answered with 503 unless the view catches it."""
    app.config["BOKEH_MAX_SESSIONS"] = 1
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)

    @app.get("/plain")
    def plain() -> str:
        with bokeh.pull_session("/x"):
            return "shown"

    @app.get("/careful")
    def careful() -> str:
        try:
            return plain()
        except LimitError as error:
            return f"later: {error.setting}"

    client = app.test_client()
    assert client.get("/plain").text == "shown"
    assert client.get("/plain").status_code == 503
    assert client.get("/careful").text == "later: BOKEH_MAX_SESSIONS"


def test_limit_on_the_servers_own_port_shows_a_message(app: Flask, bokeh: FlaskBokeh) -> None:
    """The document of a refused session shows the limit's message if Flask sees no WebSocket."""
    app.config["BOKEH_MAX_SESSIONS"] = 1
    made: list[Document] = []
    bokeh.add_application("/x", made.append)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    with app.test_request_context():
        tokens = [state.authorizer.issue("/x") for _ in range(2)]
    server = state.servers.get()

    async def create(token: Token) -> Any:
        return (await server.create_session(token, {})).document

    documents = [server.loop.call(create, token, what="a test", timeout=60) for token in tokens]
    assert made == documents[:1]
    assert "as many plots as it can" in documents[1].roots[0].text
