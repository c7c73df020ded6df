"""Settings: a frozen dataclass with one field for each ``BOKEH_*`` key.

An argument of :class:`~flask_bokeh.FlaskBokeh` has priority over ``app.config``, which has priority
over the environment, which has priority over the default. Only those keys that Bokeh itself reads
from the environment are read from there.

Each field has its default, its check and its other properties in one place; the text below it
is its documentation, from which ``docs/make_settings.py`` makes a page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bokeh.settings import settings as bokeh_settings

from . import setting_checks as checks
from .errors import ConfigError
from .server_options import suggestion

__all__ = ("SettingInfo", "Settings", "key_of", "setting_infos")


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """The properties of a setting, apart from its value."""

    check: checks.Check
    """Returns the value to use, or raises ``ValueError`` with the accepted values."""
    environment: Callable[[], Any] | None
    """Reads the value from Bokeh's environment variable of the same name; None if there is none."""
    is_secret: bool
    """True if error messages and representations must not show the value."""
    is_security: bool
    """True if ``docs/security.md`` describes the setting."""
    section: str | None
    """The section of ``docs/settings.md`` that starts with the setting."""


def setting(
    default: Any,
    check: checks.Check,
    *,
    environment: Callable[[], Any] | None = None,
    secret: bool = False,
    security: bool = False,
    section: str | None = None,
) -> Any:
    """Declare a field of :class:`Settings`."""
    info = SettingInfo(check, environment, secret, security, section)
    options: dict[str, Any] = {"repr": not secret, "metadata": {"info": info}}
    if isinstance(default, dict):
        return field(default_factory=default.copy, **options)
    return field(default=default, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one Flask application.

    The key of a field is ``BOKEH_`` and its name in upper case.
    """

    applications: Mapping[str, Any] = setting({}, checks.mapping, section="Applications")
    """More applications: a path, and a file, directory, function or Application for each."""

    url_prefix: str = setting("/bokeh", checks.url_prefix)
    """The URL under which the site serves the static files and WebSockets of the plots, on each of
    its hosts. Change it if the site has URLs of its own there."""

    transport: Literal["same-origin", "port"] = setting(
        "same-origin", checks.one_of("same-origin", "port"), security=True
    )
    """The connection of browsers to the Bokeh server: ``same-origin`` through Flask's own port,
    ``port`` through a port of its own."""

    server_options: Mapping[str, Any] = setting({}, checks.server_options)
    """Other keywords of ``bokeh.server.server.Server`` and ``BokehTornado``."""

    secret_key: tuple[bytes, ...] = setting(
        (),
        checks.secret_keys,
        environment=bokeh_settings.secret_key,
        secret=True,
        security=True,
        section="Tokens and access",
    )
    """The key that signs session tokens. To change it, give a list: the first key signs, and the
    others are accepted until their tokens have expired. By default, keys are derived from the
    site's ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``."""

    token_expiration: float = setting(300.0, checks.seconds, security=True)
    """Seconds for which a token opens a session, if it is not bound to a user or browser, or if it
    is used on the Bokeh server's own port. Bound tokens are renewed for the user or browser that
    requested the page."""

    token_max_age: float = setting(86_400.0, checks.seconds, security=True)
    """Seconds after which the tokens of a page are refused, and the page must be reloaded."""

    bind_browser: bool = setting(True, checks.boolean, security=True)
    """Bind the tokens of a visitor without a user to their browser, by a cookie."""

    allow_ws_origin: tuple[str, ...] = setting(
        (), checks.origins, environment=bokeh_settings.allowed_ws_origin, security=True
    )
    """Other origins (``https://host:port``) whose pages may open a WebSocket to this site."""

    allow_missing_origin: bool = setting(False, checks.boolean, security=True)
    """Allow clients that send no ``Origin`` header to open a WebSocket. Browsers send one."""

    csp_nonce: Callable[[], str] | None = setting(  # noqa: RUF009  # a field
        None, checks.function, security=True
    )
    """A function that returns the nonce of the request for a Content-Security-Policy. By default
    the Jinja global ``csp_nonce``, which Flask-Talisman provides."""

    unused_session_lifetime: float = setting(
        60.0, checks.seconds, security=True, section="Sessions"
    )
    """Seconds for which a session is kept while no browser is connected."""

    max_arguments_size: int = setting(2048, checks.size_in_bytes, security=True)
    """Maximum size in bytes of the ``arguments`` and ``data`` of a session together, as JSON."""

    pull_transport: Literal["direct", "client"] = setting(
        "direct", checks.one_of("direct", "client")
    )
    """The way in which ``pull_session`` edits a document: ``direct`` on the IOLoop, or through
    ``bokeh.client``."""

    pull_timeout: float = setting(10.0, checks.seconds)
    """Maximum time in seconds of each wait of ``pull_session``."""

    max_waiting_pages: int | None = setting(3, checks.limit, security=True)
    """Maximum pages per process that wait for a session for more than 2 seconds at the same time;
    None for no limit. Further pages get a 503 response at once. Choose fewer than the request
    threads, so that other pages find one. ``flask bokeh run`` allows half of its threads at most;
    greenlets (gevent) are not limited."""

    max_sessions: int | None = setting(1000, checks.limit, security=True, section="Limits")
    """Maximum sessions per process; None for no limit."""

    max_sessions_per_user: int | None = setting(250, checks.limit, security=True)
    """Maximum sessions per process of one user, or of one browser without a user; None for no
    limit."""

    max_sessions_per_address: int | None = setting(None, checks.limit, security=True)
    """Maximum sessions per process from one client address; None for no limit. An IPv6 /64 network
    counts as one address, and so do all visitors from one company, and all visitors behind a
    proxy (on a unix socket, too) without werkzeug's ``ProxyFix``."""

    max_session_rate: int | None = setting(600, checks.limit, security=True)
    """Maximum sessions per minute that one user, or one address without a user, may open; None for
    no limit."""

    max_message_size: int = setting(20 * 1024 * 1024, checks.size_in_bytes, security=True)
    """Maximum size in bytes of a WebSocket message."""

    max_message_values: int = setting(250_000, checks.positive_integer, security=True)
    """Maximum entries of lists and dicts in a WebSocket message. Entries of binary arrays, which
    BokehJS sends for typed arrays, do not count."""

    max_message_events: int = setting(100, checks.positive_integer, security=True)
    """Maximum changes in a WebSocket message. BokehJS sends one, or one for each property that is
    set at the same time."""

    max_new_models: int = setting(20, checks.positive_integer, security=True)
    """Maximum models that a browser may add to its document."""

    resources: str = setting(
        "server",
        checks.one_of("server", "server-dev", "cdn", "inline"),
        environment=lambda: bokeh_settings.resources(default="server"),
        section="BokehJS",
    )
    """The source of BokehJS: ``server`` (this site), ``cdn`` or ``inline``."""

    minified: bool = setting(True, checks.boolean, environment=bokeh_settings.minified)
    """Serve BokehJS minified."""

    log_level: str = setting(
        "info",
        checks.one_of("trace", "debug", "info", "warn", "error", "fatal"),
        environment=bokeh_settings.log_level,
    )
    """The log level of BokehJS in the browser's console."""

    start_timeout: float = setting(30.0, checks.seconds, section="The server of each process")
    """Maximum time in seconds to start the Bokeh server."""

    stop_timeout: float = setting(5.0, checks.seconds)
    """Maximum time in seconds to stop the Bokeh server."""

    slow_callback_duration: float = setting(5.0, checks.seconds)
    """Seconds that an application may block the server's loop before its stack is logged."""

    runtime_dir: str | None = setting(None, checks.optional_text, security=True)
    """The directory in which the workers of a site find each other, to pass the socket of a browser
    to the worker that has its pulled session. By default ``$XDG_RUNTIME_DIR``, or the directory
    for temporary files."""

    ssl_certfile: str | None = setting(
        None,
        checks.optional_text,
        environment=bokeh_settings.ssl_certfile,
        section="The server's own port",
    )
    """The file of the TLS certificate for the Bokeh server's own port."""

    ssl_keyfile: str | None = setting(
        None, checks.optional_text, environment=bokeh_settings.ssl_keyfile
    )
    """The file of the TLS key for the Bokeh server's own port."""

    ssl_password: str | None = setting(
        None, checks.optional_text, environment=bokeh_settings.ssl_password, secret=True
    )
    """The password of the TLS key."""

    auth_module: str | None = setting(
        None, checks.optional_text, environment=bokeh_settings.auth_module, security=True
    )
    """The file of a Bokeh auth module (``bokeh serve --auth-module``)."""

    cookie_secret: str | None = setting(
        None,
        checks.optional_text,
        environment=bokeh_settings.cookie_secret,
        secret=True,
        security=True,
    )
    """The secret for the cookies of an auth module."""

    @classmethod
    def load(cls, config: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
        """Read and check all settings.

        :param config: ``app.config``.
        :param options: keyword arguments of the extension.
        :raises ConfigError: with all problems.
        """
        infos = setting_infos()
        problems = [
            f"FlaskBokeh() has no option {name!r}.{suggestion(name, infos)}"
            for name in options
            if name not in infos
        ]
        problems += filter(None, map(_problem_with_key, config))
        values: dict[str, Any] = {}
        for name, info in infos.items():
            key = key_of(name)
            value: Any = os.environ.get(key)  # for the message, if Bokeh can't read it
            try:
                if name in options:
                    key, value = f"option {name}", options[name]
                elif key in config:
                    value = config[key]
                elif info.environment is None or (value := info.environment()) is None:
                    continue
                values[name] = info.check(value)
            except (ValueError, TypeError) as error:
                shown = "<hidden>" if info.is_secret else repr(value)
                problems.append(f"{key} is {shown}: {error}.")
        if problems:
            raise ConfigError(problems)
        return cls(**values)


def key_of(name: str) -> str:
    """Return the config key of a field, such as ``BOKEH_URL_PREFIX``."""
    return f"BOKEH_{name.upper()}"


def setting_infos() -> dict[str, SettingInfo]:
    """Return the properties of all settings, by the names of the fields."""
    return {item.name: item.metadata["info"] for item in fields(Settings)}


_WITHOUT_EFFECT = {
    "BOKEH_SIGN_SESSIONS": "can't be set: flask_bokeh always signs sessions",
    "BOKEH_ICO_PATH": (
        "has no effect, because the Bokeh server has no pages: link an icon in the templates of "
        "the Flask application"
    ),
    "BOKEH_XSRF_COOKIES": (
        "has no effect, because the Bokeh server accepts no forms: protect the forms of the Flask "
        "application with Flask-WTF"
    ),
}


def _problem_with_key(key: str) -> str | None:
    """Return what is wrong with the name of a key of the Flask config, or None."""
    if not key.startswith("BOKEH_"):
        return None
    keys = [key_of(name) for name in setting_infos()]
    if key in keys:
        return None
    if key in _WITHOUT_EFFECT:
        return f"{key} {_WITHOUT_EFFECT[key]}."
    if key in _environment_variables_of_bokeh():
        return f"{key} applies to the whole process: set it in the environment, not in app.config."
    return f"{key} is not a setting.{suggestion(key, keys)}"


def _environment_variables_of_bokeh() -> set[str]:
    descriptors = vars(type(bokeh_settings)).values()
    return {name for value in descriptors if (name := getattr(value, "env_var", None))}
