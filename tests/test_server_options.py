"""BOKEH_SERVER_OPTIONS: each option that is accepted has an effect; the others are refused."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from bokeh.server.tornado import BokehTornado
from flask import Flask
from tornado.websocket import websocket_connect

from flask_bokeh import ConfigError, FlaskBokeh
from flask_bokeh.server_options import ACCEPTED, REFUSED
from flask_bokeh.settings import Settings

# Keywords of bokeh.server.server.Server, and documented settings of tornado.web.Application, which
# BokehTornado accepts without having a parameter for them.
OTHERS = {
    *("address", "port", "unix_socket", "use_xheaders", "http_server_kwargs"),
    *("log_function", "websocket_ping_interval", "websocket_ping_timeout"),
}


def test_each_option_is_accepted_or_refused() -> None:
    """An option that a new version of Bokeh adds fails here until it is in one of the two lists.

    The effect of an accepted option is tested below or in test_lifecycle.py, or is clear from
    Bokeh's source.
    """
    parameters = inspect.signature(BokehTornado.__init__).parameters.values()
    tornado = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert (tornado | OTHERS) - set(REFUSED) == ACCEPTED
    assert not ACCEPTED & set(REFUSED)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("include_headers", "a session token holds no headers"),
        ("exclude_headers", "a session token holds no headers"),
        ("include_cookies", "no cookies. Pass what an application needs"),
        ("exclude_cookies", "no cookies. Pass what an application needs"),
        ("extra_patterns", "Add routes to the Flask application"),
        ("index", "Write an index page as a Flask view"),
        ("use_index", "Write an index page as a Flask view"),
        ("redirect_root", "Write an index page as a Flask view"),
        ("ico_path", "has no pages"),
        ("xsrf_cookies", "accepts no forms"),
        ("compress_response", "Compress in Flask or in a proxy"),
    ],
)
def test_options_without_an_effect_are_refused(name: str, reason: str) -> None:
    """The error names the option and says what to do instead."""
    with pytest.raises(ConfigError, match=f"'{name}' can't be set there; it would have no effect"):
        Settings.load({"BOKEH_SERVER_OPTIONS": {name: None}}, {})
    assert reason in REFUSED[name]


def test_options_of_websockets_have_an_effect(app: Flask, bokeh: FlaskBokeh) -> None:
    """The options are compression, pings and the log function."""
    logged: list[Any] = []
    app.config["BOKEH_SERVER_OPTIONS"] = {
        "websocket_compression_level": 9,
        "websocket_compression_mem_level": 5,
        "websocket_ping_interval": 0.5,
        "log_function": logged.append,
    }
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    with app.test_request_context():
        bokeh.start()
        token = state.authorizer.issue("/x")

    async def visit() -> None:
        pinged, ended = asyncio.Event(), asyncio.Event()
        client = await websocket_connect(
            f"ws://127.0.0.1:{state.servers.get().port}/x/ws",
            subprotocols=["bokeh", token.encoded],
            compression_options={},
            on_message_callback=lambda text: ended.set() if text is None else None,
        )
        assert client.headers is not None
        assert "permessage-deflate" in client.headers["Sec-WebSocket-Extensions"]
        client.on_ping = lambda data: pinged.set()  # type: ignore[method-assign]
        try:
            await asyncio.wait_for(pinged.wait(), 20)
        finally:
            client.close()
            await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(visit())
    assert [handler.get_status() for handler in logged] == [101]
    assert logged[0].get_compression_options() == {"compression_level": 9, "mem_level": 5}
