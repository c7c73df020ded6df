"""Functions that check the value of a setting.

Each returns the value to use, or raises ``ValueError`` with the accepted values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .server_options import check_option

__all__ = (
    "Check",
    "boolean",
    "function",
    "limit",
    "mapping",
    "one_of",
    "optional_text",
    "origins",
    "positive_integer",
    "seconds",
    "secret_keys",
    "server_options",
    "size_in_bytes",
    "url_prefix",
)

Check = Callable[[Any], Any]


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected True or False")
    return value


def optional_text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError("expected a string")
    return value


def one_of(*accepted: str) -> Check:
    """Return a check for one of several strings."""

    def check(value: Any) -> str:
        if value not in accepted:
            raise ValueError(f"expected one of {', '.join(map(repr, accepted))}")
        return str(value)

    return check


def seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("expected a number of seconds greater than 0")
    return float(value)


def size_in_bytes(value: Any) -> int:
    if not _is_positive_integer(value):
        raise ValueError("expected a whole number of bytes greater than 0")
    return int(value)


def positive_integer(value: Any) -> int:
    if not _is_positive_integer(value):
        raise ValueError("expected a whole number greater than 0")
    return int(value)


def limit(value: Any) -> int | None:
    if value is not None and not _is_positive_integer(value):
        raise ValueError("expected a whole number greater than 0, or None for no limit")
    return value  # type: ignore[no-any-return]


def mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("expected a dict with strings as keys")
    return dict(value)


def function(value: Any) -> Callable[[], Any] | None:
    if value is not None and not callable(value):
        raise ValueError("expected a function")
    return value  # type: ignore[no-any-return]


def url_prefix(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or value.strip("/") == "":
        raise ValueError("expected a path such as '/bokeh'")
    return value.rstrip("/")


def secret_keys(value: Any) -> tuple[bytes, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    keys = [one.encode() if isinstance(one, str) else one for one in values]
    if not keys or not all(isinstance(key, bytes) and len(key) >= 16 for key in keys):
        raise ValueError("expected a random string of 16 characters or more, or a list of them")
    return tuple(keys)


def origins(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of origins such as 'https://example.org'")
    if any("*" in item for item in value):
        raise ValueError("'*' would let every site on the web use your visitors' sessions")
    return tuple(item.strip() for item in value)


def server_options(value: Any) -> Mapping[str, Any]:
    options = mapping(value)
    for name in options:
        check_option(name)
    return options


def _is_positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
