"""Responses to upgrade requests, in Flask's test client."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh
from flask_bokeh.hijack.upgrade_request import FORWARDED_HEADERS, VISIBLE_HEADERS
from flask_bokeh.settings import Settings
from flask_bokeh.web import integration

from ..support.html import tokens_in
from ..support.upgrades import upgrade


def test_bad_upgrades_are_refused_and_explained_in_the_log(
    site: FlaskClient, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Origin, token and application are checked; the client gets a general message."""
    html = site.get("/bokeh/open?year=1").text
    token = tokens_in(html)[0]
    assert upgrade(site, "/bokeh/open/ws", token).status_code == 501  # no socket in a test client
    assert "does not hand out its clients' sockets" in caplog.text
    for path, offered, headers, reason in [
        ("/bokeh/open/ws", token, {"Origin": "http://evil.test"}, "ProxyFix"),
        ("/bokeh/open/ws", token, {"Origin": ""}, "Origin None"),
        ("/bokeh/hidden/ws", token, {}, "another application"),
        ("/bokeh/open/ws", token + "x", {}, "wrong signature"),
        ("/bokeh/open/ws", "", {}, "wrong signature"),
        ("/bokeh/open/ws", token, {"Sec_WebSocket_Protocol": "x"}, "no Bokeh session"),
    ]:
        caplog.clear()
        response = upgrade(site, path, offered, **headers)
        assert response.status_code == 403
        assert response.text == "This plot can't be opened here.\n"
        assert f"Refused a WebSocket of {path[6:-3]}" in caplog.text
        assert reason in caplog.text
        assert token not in caplog.text
    assert upgrade(site, "/bokeh/nope/ws", token).status_code == 404
    app.debug = True
    assert "wrong signature" in upgrade(site, "/bokeh/open/ws", "").text


def test_upgrade_to_a_pulled_session_that_ended_is_answered_410(
    app: Flask, site: FlaskClient, bokeh: FlaskBokeh
) -> None:
    """A pulled session is never replaced by a fresh one."""
    bokeh.user_loader(lambda: "ann")
    with app.test_request_context():
        with bokeh.pull_session("/hidden") as session:
            pass
        bokeh.stop()
    response = upgrade(site, "/bokeh/hidden/ws", session.token.encoded)
    assert response.status_code == 410
    assert "has ended" in response.text


def test_plain_request_for_a_websocket_is_answered_400(site: FlaskClient) -> None:
    response = site.get("/bokeh/open/ws")
    assert response.status_code == 400
    assert response.text == "This URL only accepts WebSocket upgrade requests.\n"


def test_visible_headers_are_forwarded_headers(app: Flask) -> None:
    """A pulled session has the same headers as one that a WebSocket opens."""
    assert set(VISIBLE_HEADERS) <= set(FORWARDED_HEADERS)
    with app.test_request_context(headers={"Cookie": "a=b", "Authorization": "x"}):
        headers = integration.FlaskIntegration(app, Settings()).application_headers()
        assert headers == {"Host": "localhost", "Cookie": "a=b"}


@pytest.mark.parametrize("host", ["a b", "", "x" * 300, "ä", "[::1"])
def test_session_can_be_pulled_with_an_invalid_host(
    app: Flask, bokeh: FlaskBokeh, host: str
) -> None:
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context(environ_overrides={"HTTP_HOST": host}), bokeh.pull_session("/x"):
        pass
