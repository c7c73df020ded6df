"""Recognize what is registered again: an application factory that is called twice on one
``FlaskBokeh`` repeats its registrations, often with functions that it has defined anew.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

__all__ = ("ADVICE", "defined_again", "same_source")

ADVICE = (
    "If create_app() does this each time it is called, do it outside of create_app(), or make the "
    "FlaskBokeh() in create_app()"
)
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def same_source(one: object, other: object) -> bool:
    """Return whether two sources are the same: one object or file, or one function that was defined
    again with the same values around it.
    """
    if isinstance(one, str | Path) and isinstance(other, str | Path):
        return Path(one) == Path(other)
    if isinstance(one, partial) and isinstance(other, partial):
        return (
            same_source(one.func, other.func)
            and _same_values(one.args, other.args)
            and one.keywords.keys() == other.keywords.keys()
            and _same_values(one.keywords.values(), other.keywords.values())
        )
    if not defined_again(one, other):
        return bool(one == other) if type(one) is type(other) else False
    return all(_same_values(*pair) for pair in zip(_around(one), _around(other), strict=True))


def defined_again(one: object, other: object) -> bool:
    """Return whether two functions come from one ``def`` that has run twice, whatever is around."""
    return (
        isinstance(one, FunctionType)
        and isinstance(other, FunctionType)
        and one.__code__ is other.__code__
        and one.__globals__ is other.__globals__
    )


def _around(function: Any) -> list[list[Any]]:
    """The values that a function brings along: defaults, and variables of where it was defined."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            cells.append(cell)
    defaults = sorted((function.__kwdefaults__ or {}).items())
    return [cells, list(function.__defaults__ or ()), [value for _, value in defaults]]


def _same_values(some: Any, others: Any) -> bool:
    some, others = list(some), list(others)
    return len(some) == len(others) and all(
        one is other or (type(one) is type(other) and isinstance(one, _PLAIN) and one == other)
        for one, other in zip(some, others, strict=True)
    )
