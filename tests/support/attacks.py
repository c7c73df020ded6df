"""Small but costly messages: the JSON content of a ``PATCH-DOC``."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

__all__ = ("ATTACKS",)
from .messages import changed


def _change(new: Any) -> str:
    """Return a change of a property; MODEL stands for the ID of the model.

    Bokeh makes the value before it looks for the model.
    """
    event = changed("MODEL", new, "tags")
    return json.dumps({"events": [event]})


def _roots(count: int) -> str:
    models = [{"type": "object", "name": "Div", "id": f"root{n}"} for n in range(count)]
    return json.dumps({"events": [{"kind": "RootAdded", "model": model} for model in models]})


def _inline(data: bytes) -> dict[str, Any]:
    return {"type": "bytes", "data": base64.b64encode(data).decode()}


def _bomb() -> str:
    return _change(_inline(gzip.compress(bytes(400_000_000), 9)))


def _members() -> str:
    return _change(_inline(gzip.compress(bytes(4_000_000), 9) * 100))


def _dtype() -> str:
    return _change(
        {"type": "ndarray", "array": 1, "dtype": "S400000000", "shape": [1], "order": "little"}
    )


def _shape() -> str:
    empty = _inline(gzip.compress(b""))
    return _change(
        {"type": "ndarray", "array": empty, "dtype": "int8", "shape": [10**8, 0], "order": "big"}
    )


def _collisions() -> str:
    return _change({"type": "set", "entries": [n * (2**61 - 1) for n in range(25_000)]})


def _depth(levels: int) -> str:
    return _change("DEEP").replace('"DEEP"', "[" * levels + "]" * levels)


def _values() -> str:
    return _change([[]] * 300_000)


def _models() -> str:
    return _change([{"type": "object", "name": "Plot", "id": f"p{n}"} for n in range(500)])


ATTACKS: dict[str, Callable[[], str]] = {
    "gzip bomb": _bomb,
    "gzip bomb of many members": _members,
    "dtype bomb": _dtype,
    "shape bomb": _shape,
    "1,000 roots": lambda: _roots(1000),
    "500 plots": _models,
    "numbers with one hash": _collisions,
    "nested 500 deep": lambda: _depth(500),
    "nested 100,000 deep": lambda: _depth(100_000),
    "300,000 lists": _values,
}
