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
from .server_options import check_option, suggestion

__all__ = ("Settings",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one Flask application.

    The key of a field is ``BOKEH_`` and its name in upper case.
    """

    applications: Mapping[str, Any] = field(default_factory=dict)
    """More applications: a path, and a file, directory, function or Application for each."""

    url_prefix: str = "/bokeh"
    """Where the plots' static files and WebSockets live in the site."""

    transport: Literal["same-origin", "port"] = "same-origin"
    """How a browser reaches the Bokeh server: on Flask's own port, or on a port of its own."""

    secret_key: bytes | None = field(default=None, repr=False)
    """Signs session tokens. Without it a key is derived from the site's ``SECRET_KEY``."""

    token_expiration: float = 300.0
    """Seconds for which a token opens a session. A page that is still open renews its own."""

    token_max_age: float = 86_400.0
    """Seconds after which a page's token is no longer renewed and the page must be reloaded."""

    max_arguments_size: int = 2048
    """Bytes that ``arguments`` and ``data`` of a session may take together, as JSON."""

    pull_transport: Literal["direct", "client"] = "direct"
    """How ``pull_session`` edits a document: on the IOLoop itself, or through ``bokeh.client``."""

    pull_timeout: float = 10.0
    """Seconds that each wait of ``pull_session`` may take."""

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

    allow_ws_origin: tuple[str, ...] = ()
    """Other origins (``https://host:port``) whose pages may open a WebSocket to this site."""

    allow_missing_origin: bool = False
    """Whether clients that send no ``Origin`` (they are not browsers) may open a WebSocket."""

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
    """Whether Bokeh's own handlers check XSRF cookies."""

    ico_path: str = "default"
    """The icon of the Bokeh server's own port."""

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
                values[name] = _CHECKS[name](value)
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


# --- checks: return the value to use, or raise with what would be right ------------------


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or value.strip("/") == "":
        raise ValueError("expected a path such as '/bokeh'")
    return value.rstrip("/")


def _one_of(*accepted: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in accepted:
            raise ValueError(f"expected one of {', '.join(map(repr, accepted))}")
        return str(value)

    return check


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("expected a number of seconds greater than 0")
    return float(value)


def _bytes_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError("expected a whole number of bytes greater than 0")
    return value


def _secret(value: Any) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    if not isinstance(raw, bytes) or len(raw) < 16:
        raise ValueError("expected a random string of 16 characters or more")
    return raw


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected True or False")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a string")
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _origins(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of origins such as 'https://example.org'")
    if any("*" in item for item in value):
        raise ValueError("'*' would let every site on the web use your visitors' sessions")
    return tuple(item.strip() for item in value)


def _ico(value: Any) -> str:
    return str(bokeh_settings.ico_path(_text(value)))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("expected a dict with strings as keys")
    return dict(value)


def _server_options(value: Any) -> Mapping[str, Any]:
    options = _mapping(value)
    for name in options:
        check_option(name)
    return options


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "applications": _mapping,
    "url_prefix": _prefix,
    "transport": _one_of("same-origin", "port"),
    "secret_key": _secret,
    "token_expiration": _seconds,
    "token_max_age": _seconds,
    "max_arguments_size": _bytes_count,
    "pull_transport": _one_of("direct", "client"),
    "pull_timeout": _seconds,
    "start_timeout": _seconds,
    "stop_timeout": _seconds,
    "blocked_after": _seconds,
    "socket_dir": _optional_text,
    "unused_session_lifetime": _seconds,
    "max_message_size": _bytes_count,
    "allow_ws_origin": _origins,
    "allow_missing_origin": _boolean,
    "resources": _one_of("server", "server-dev", "cdn", "inline"),
    "minified": _boolean,
    "log_level": _one_of("trace", "debug", "info", "warn", "error", "fatal"),
    "auth_module": _optional_text,
    "cookie_secret": _optional_text,
    "xsrf_cookies": _boolean,
    "ico_path": _ico,
    "ssl_certfile": _optional_text,
    "ssl_keyfile": _optional_text,
    "ssl_password": _optional_text,
    "server_options": _server_options,
}
_FIELDS = tuple(item.name for item in fields(Settings))
_SECRETS = frozenset(item.name for item in fields(Settings) if not item.repr)
