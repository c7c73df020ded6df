"""The keywords of Bokeh's server that ``BOKEH_SERVER_OPTIONS`` may hold.

The tests compare these tables with the signatures of Bokeh's ``Server`` and ``BokehTornado``. An
option that a new version of Bokeh adds is refused until it is in one of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ("ACCEPTED", "REFUSED", "check_option", "suggestion")

ACCEPTED = frozenset(
    [
        # of bokeh.server.server.Server
        *("address", "port", "unix_socket", "use_xheaders", "http_server_kwargs"),
        # of bokeh.server.tornado.BokehTornado
        *("keep_alive_milliseconds", "check_unused_sessions_milliseconds"),
        *("stats_log_frequency_milliseconds", "mem_log_frequency_milliseconds"),
        *("websocket_compression_level", "websocket_compression_mem_level"),
        # of tornado.web.Application, to which BokehTornado passes all others without a check
        *("log_function", "websocket_ping_interval", "websocket_ping_timeout"),
    ]
)

_NO_PAGES = "it would have no effect: the Bokeh server has no pages"
_NO_TOKEN = (
    "it would have no effect: a session token holds no headers and no cookies. Pass what an "
    "application needs as arguments or data"
)
# These have a key of their own, would weaken the tokens, or would have no effect, because the Bokeh
# server serves only WebSockets and Flask serves everything else.
REFUSED = {
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
    "generate_session_ids": "flask_bokeh always generates the session ids",
    "absolute_url": "flask_bokeh derives URLs from each request",
    "io_loop": "call bokeh.start(io_loop=...) instead",
    "num_procs": "run several workers of the WSGI server instead",
    "include_headers": _NO_TOKEN,
    "exclude_headers": _NO_TOKEN,
    "include_cookies": _NO_TOKEN,
    "exclude_cookies": _NO_TOKEN,
    "index": f"{_NO_PAGES}. Write an index page as a Flask view",
    "use_index": f"{_NO_PAGES}. Write an index page as a Flask view",
    "redirect_root": f"{_NO_PAGES}. Write an index page as a Flask view",
    "ico_path": f"{_NO_PAGES}. Link an icon in the templates of the Flask application",
    "xsrf_cookies": (
        "it would have no effect: the Bokeh server accepts no forms. Protect the forms of the "
        "Flask application with Flask-WTF"
    ),
    "extra_patterns": (
        "it would have no effect: the Bokeh server serves only WebSockets. Add routes to the "
        "Flask application"
    ),
    "compress_response": (
        "it would have no effect: Flask serves everything but WebSockets. Compress in Flask or "
        "in a proxy; for WebSockets set websocket_compression_level"
    ),
}


def check_option(name: str) -> None:
    """:raises ValueError: if ``BOKEH_SERVER_OPTIONS`` may not hold this keyword."""
    if name in REFUSED:
        raise ValueError(f"{name!r} can't be set there; {REFUSED[name]}")
    if name not in ACCEPTED:
        hint = suggestion(name, ACCEPTED).rstrip("?")
        raise ValueError(f"Bokeh's server has no option {name!r}.{hint}".rstrip("."))


def suggestion(word: str, words: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the most similar word, or "" if none is similar."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {close[0]}?" if close else ""
