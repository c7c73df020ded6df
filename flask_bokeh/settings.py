"""Settings: one frozen dataclass, one documented field for each ``BOKEH_*`` key.

An argument of :class:`~flask_bokeh.FlaskBokeh` wins over ``app.config``, which wins over the
environment, which wins over the default. The environment counts for those keys that Bokeh
itself reads from there. Everything is read once, by :meth:`Settings.load`, and all problems
are reported together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bokeh.settings import settings as bokeh_settings

from .errors import ConfigError
from .server_options import suggestion
from .setting_checks import CHECKS

__all__ = ("Settings",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one Flask application.

    The key of a field is ``BOKEH_`` and its name in upper case.
    """

    applications: Mapping[str, Any] = field(default_factory=dict)
    """More applications: a path, and a file, directory, function or Application for each."""

    url_prefix: str = "/bokeh"
    """Where the plots' static files and WebSockets live in the site, on each of its hosts. A site
    with URLs of its own there needs another."""

    transport: Literal["same-origin", "port"] = "same-origin"
    """How a browser reaches the Bokeh server: on Flask's own port, or on a port of its own."""

    secret_key: tuple[bytes, ...] = field(default=(), repr=False)
    """Signs session tokens. To change it, give a list: the first key signs, the others are good
    until their tokens have ended. Without it keys are derived from the site's ``SECRET_KEY`` and
    ``SECRET_KEY_FALLBACKS``."""

    token_expiration: float = 300.0
    """Seconds for which a token opens a session, if it is bound to nobody, or on the Bokeh server's
    own port. One that is bound is renewed for the user, or the browser, who asked for its page."""

    token_max_age: float = 86_400.0
    """Seconds after which a page's token is good for nobody, and the page must be reloaded."""

    bind_browser: bool = True
    """Whether the token of a visitor without a user is bound to their browser, by a cookie."""

    max_arguments_size: int = 2048
    """Bytes that ``arguments`` and ``data`` of a session may take together, as JSON."""

    pull_transport: Literal["direct", "client"] = "direct"
    """How ``pull_session`` edits a document: on the IOLoop itself, or through ``bokeh.client``."""

    pull_timeout: float = 10.0
    """Seconds that each wait of ``pull_session`` may take."""

    max_waiting_pages: int | None = 3
    """Pages that may wait for a session for more than 2 seconds at a time, in one process; further
    ones get a 503 at once. Set it to fewer than the request threads, so that other pages find one;
    ``None`` for no limit. ``flask bokeh run`` allows half of its threads at most, and greenlets
    (gevent) are not limited."""

    start_timeout: float = 30.0
    """Seconds that the Bokeh server may take to start."""

    stop_timeout: float = 5.0
    """Seconds that the Bokeh server may take to stop."""

    blocked_after: float = 5.0
    """Seconds that an application may block the server's loop before its stack is logged."""

    socket_dir: str | None = None
    """The folder in which a site's workers meet, to pass sockets on to the worker with a pulled
    session. By default ``$XDG_RUNTIME_DIR``, or where temporary files go."""

    unused_session_lifetime: float = 60.0
    """Seconds that a session lives without a browser."""

    max_message_size: int = 20 * 1024 * 1024
    """Bytes that one WebSocket message may have."""

    max_message_values: int = 250_000
    """Entries of lists and dicts that one WebSocket message may have; those of binary arrays, which
    BokehJS sends for typed arrays, do not count."""

    max_message_events: int = 100
    """Changes that one WebSocket message may make. BokehJS sends one, or one for each property that
    is set at the same time."""

    max_new_models: int = 20
    """Models that a browser may have added to its document."""

    max_sessions: int | None = 1000
    """Sessions that one process may hold; None for any number. So with the next three."""

    max_sessions_per_user: int | None = 250
    """Sessions of one user, or of one browser without a user, in one process."""

    max_sessions_per_address: int | None = None
    """Sessions from one client address in one process; of IPv6, a /64 network is one. A company, or
    a proxy without werkzeug's ``ProxyFix``, on a unix socket too, is one address."""

    max_session_rate: int | None = 600
    """Sessions that one user, or one address without a user, may open in a minute."""

    allow_ws_origin: tuple[str, ...] = ()
    """Other origins (``https://host:port``) whose pages may open a WebSocket to this site."""

    allow_missing_origin: bool = False
    """Whether clients that send no ``Origin`` (they are not browsers) may open a WebSocket."""

    csp_nonce: Callable[[], str] | None = None
    """Gives the nonce of the request for a Content-Security-Policy. By default the Jinja global
    ``csp_nonce``, which Flask-Talisman provides."""

    resources: str = "server"
    """Where BokehJS comes from: ``server`` (this site), ``cdn`` or ``inline``."""

    minified: bool = True
    """Whether BokehJS is served minified."""

    log_level: str = "info"
    """The log level of BokehJS in the browser's console."""

    auth_module: str | None = None
    """A Bokeh auth module (``bokeh serve --auth-module``)."""

    cookie_secret: str | None = field(default=None, repr=False)
    """The secret for cookies that an auth module sets."""

    xsrf_cookies: bool = False
    """Accepted because Bokeh reads it from the environment; without effect, because the Bokeh
    server accepts no forms."""

    ico_path: str = "default"
    """Accepted because Bokeh reads it from the environment; without effect, because the Bokeh
    server has no pages."""

    ssl_certfile: str | None = None
    """The TLS certificate of the Bokeh server's own port."""

    ssl_keyfile: str | None = None
    """The TLS key of the Bokeh server's own port."""

    ssl_password: str | None = field(default=None, repr=False)
    """The password of that key."""

    server_options: Mapping[str, Any] = field(default_factory=dict)
    """Any other keyword of ``bokeh.server.server.Server`` or ``BokehTornado``."""

    @classmethod
    def load(cls, config: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
        """Read and check everything.

        :param config: ``app.config``.
        :param options: keyword arguments of the extension.
        :raises ConfigError: with every problem found.
        """
        problems: list[str] = [
            f"FlaskBokeh() has no option {name!r}.{suggestion(name, _FIELDS)}"
            for name in options
            if name not in _FIELDS
        ]
        problems += [problem for key in config if (problem := _check_key(key))]
        values: dict[str, Any] = {}
        for name in _FIELDS:
            key = key_of(name)
            value: Any = os.environ.get(key)
            try:
                if name in options:
                    key, value = f"option {name}", options[name]
                elif key in config:
                    value = config[key]
                elif (value := _from_environment(name)) is None:
                    continue
                values[name] = CHECKS[name](value)
            except (ValueError, TypeError) as error:
                shown = "<hidden>" if name in _SECRETS else repr(value)
                problems.append(f"{key} is {shown}: {error}.")
        if problems:
            raise ConfigError(problems)
        return cls(**values)


def key_of(name: str) -> str:
    """The config key of a field."""
    return f"BOKEH_{name.upper()}"


# Bokeh's own settings that mean one thing for a whole process can't differ between two Flask
# applications in it, so they stay in the environment.
_FROM_BOKEH: dict[str, Callable[[], Any]] = {
    "secret_key": bokeh_settings.secret_key,
    "allow_ws_origin": bokeh_settings.allowed_ws_origin,
    "resources": lambda: bokeh_settings.resources(default="server"),
    "minified": bokeh_settings.minified,
    "log_level": bokeh_settings.log_level,
    "auth_module": bokeh_settings.auth_module,
    "cookie_secret": bokeh_settings.cookie_secret,
    "xsrf_cookies": bokeh_settings.xsrf_cookies,
    "ico_path": bokeh_settings.ico_path,
    "ssl_certfile": bokeh_settings.ssl_certfile,
    "ssl_keyfile": bokeh_settings.ssl_keyfile,
    "ssl_password": bokeh_settings.ssl_password,
}


def _from_environment(name: str) -> Any:
    read = _FROM_BOKEH.get(name)
    return None if read is None else read()


def _bokeh_variables() -> set[str]:
    descriptors = vars(type(bokeh_settings)).values()
    return {name for value in descriptors if (name := getattr(value, "env_var", None))}


def _check_key(key: str) -> str | None:
    """What is wrong with the name of a key of the Flask config, if anything."""
    if not key.startswith("BOKEH_") or key.removeprefix("BOKEH_").lower() in _FIELDS:
        return None
    if key == "BOKEH_SIGN_SESSIONS":
        return f"{key} can't be set: flask_bokeh always signs sessions."
    if key in _bokeh_variables():
        return f"{key} holds for a whole process: set it in the environment, not in app.config."
    return f"{key} is not a setting.{suggestion(key, [key_of(name) for name in _FIELDS])}"


_FIELDS = tuple(item.name for item in fields(Settings))
_SECRETS = frozenset(item.name for item in fields(Settings) if not item.repr)
