"""Which keywords of Bokeh's server ``BOKEH_SERVER_OPTIONS`` may hold, and why not the others."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable

from bokeh.server.tornado import BokehTornado

__all__ = ("check_option", "suggestion")

# Options of Server itself; those of BokehTornado are read from its signature.
_SERVER = frozenset({"address", "port", "unix_socket", "use_xheaders", "http_server_kwargs"})
# BokehTornado passes the rest on to tornado.web.Application, which accepts any name at all:
# these are its documented settings that make sense here.
_TORNADO = frozenset({"log_function", "websocket_ping_interval", "websocket_ping_timeout"})
# Options that have a key of their own, that the security of the tokens depends on, or that would
# have no effect: the Bokeh server answers WebSockets only, Flask everything else.
_NO_INDEX = "it would have no effect: the Bokeh server has no pages. Make an index as a Flask view"
_NO_TOKEN = (
    "it would have no effect: a session token holds no headers and no cookies. Pass what an "
    "application needs as arguments or data"
)
ELSEWHERE = {
    "allow_websocket_origin": "set BOKEH_ALLOW_WS_ORIGIN instead",
    "extra_websocket_origins": "set BOKEH_ALLOW_WS_ORIGIN instead",
    "auth_provider": "set BOKEH_AUTH_MODULE instead",
    "cookie_secret": "set BOKEH_COOKIE_SECRET instead",
    "ssl_certfile": "set BOKEH_SSL_CERTFILE instead",
    "ssl_keyfile": "set BOKEH_SSL_KEYFILE instead",
    "ssl_password": "set BOKEH_SSL_PASSWORD instead",
    "secret_key": "set BOKEH_SECRET_KEY instead",
    "session_token_expiration": "set BOKEH_TOKEN_EXPIRATION instead",
    "unused_session_lifetime_milliseconds": "set BOKEH_UNUSED_SESSION_LIFETIME instead",
    "websocket_max_message_size": "set BOKEH_MAX_MESSAGE_SIZE instead",
    "websocket_max_message_size_bytes": "set BOKEH_MAX_MESSAGE_SIZE instead",
    "prefix": "set BOKEH_URL_PREFIX instead",
    "sign_sessions": "flask_bokeh always signs sessions",
    "generate_session_ids": "session ids always come from flask_bokeh",
    "absolute_url": "flask_bokeh derives URLs from each request",
    "io_loop": "call bokeh.start(io_loop=...) instead",
    "num_procs": "run several workers of the WSGI server instead",
    "include_headers": _NO_TOKEN,
    "exclude_headers": _NO_TOKEN,
    "include_cookies": _NO_TOKEN,
    "exclude_cookies": _NO_TOKEN,
    "index": _NO_INDEX,
    "use_index": _NO_INDEX,
    "redirect_root": _NO_INDEX,
    "ico_path": "it would have no effect: the Bokeh server has no pages. Link an icon in Flask's",
    "xsrf_cookies": (
        "it would have no effect: the Bokeh server accepts no forms. Flask-WTF protects those of "
        "the site"
    ),
    "extra_patterns": (
        "it would have no effect: the Bokeh server answers WebSockets only. Add routes to the "
        "Flask application"
    ),
    "compress_response": (
        "it would have no effect: Flask answers all requests but WebSockets. Compress in Flask or "
        "in a proxy; for WebSockets set websocket_compression_level"
    ),
}


def check_option(name: str) -> None:
    """:raises ValueError: unless ``name`` is a keyword that may be set, saying what is right."""
    if name in ELSEWHERE:
        raise ValueError(f"{name!r} can't be set there; {ELSEWHERE[name]}")
    parameters = inspect.signature(BokehTornado.__init__).parameters.values()
    tornado = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    known = tornado | _SERVER | _TORNADO
    if name not in known:
        hint = suggestion(name, known - set(ELSEWHERE)).rstrip("?")
        raise ValueError(f"Bokeh's server has no option {name!r}.{hint}".rstrip("."))


def suggestion(word: str, words: Iterable[str]) -> str:
    """A question that names the word that was meant, if there is one like it."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {close[0]}?" if close else ""
