"""What each setting may be: a function that returns the value to use, or raises with what
would be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bokeh.settings import settings as bokeh_settings

from .server_options import check_option

__all__ = ("CHECKS",)


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


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("expected a whole number greater than 0")
    return value


def _secrets(value: Any) -> tuple[bytes, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    keys = [one.encode() if isinstance(one, str) else one for one in values]
    if not keys or not all(isinstance(key, bytes) and len(key) >= 16 for key in keys):
        raise ValueError("expected a random string of 16 characters or more, or a list of them")
    return tuple(keys)


def _limit(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("expected a whole number greater than 0, or None for no limit")
    return value


def _function(value: Any) -> Callable[[], str] | None:
    if value is not None and not callable(value):
        raise ValueError("expected a function")
    return value  # type: ignore[no-any-return]


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


CHECKS: dict[str, Callable[[Any], Any]] = {
    "applications": _mapping,
    "url_prefix": _prefix,
    "transport": _one_of("same-origin", "port"),
    "secret_key": _secrets,
    "token_expiration": _seconds,
    "token_max_age": _seconds,
    "bind_browser": _boolean,
    "max_arguments_size": _bytes_count,
    "pull_transport": _one_of("direct", "client"),
    "pull_timeout": _seconds,
    "max_waiting_pages": _limit,
    "start_timeout": _seconds,
    "stop_timeout": _seconds,
    "blocked_after": _seconds,
    "socket_dir": _optional_text,
    "unused_session_lifetime": _seconds,
    "max_message_size": _bytes_count,
    "max_message_values": _count,
    "max_message_events": _count,
    "max_new_models": _count,
    "max_sessions": _limit,
    "max_sessions_per_user": _limit,
    "max_sessions_per_address": _limit,
    "max_session_rate": _limit,
    "allow_ws_origin": _origins,
    "allow_missing_origin": _boolean,
    "csp_nonce": _function,
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
