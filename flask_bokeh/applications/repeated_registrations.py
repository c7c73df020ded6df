"""Recognition of the repeated registrations of an application factory.

A factory that registers applications and hooks on a module-level ``FlaskBokeh`` repeats its
registrations each time it is called, often with functions that it has just defined again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

__all__ = ("FACTORY_ADVICE", "is_redefinition", "is_same_source")

FACTORY_ADVICE = (
    "If create_app() does this each time it is called, do it outside of create_app(), or make the "
    "FlaskBokeh() in create_app()"
)
_PLAIN_TYPES = (str, bytes, int, float, complex, bool, type(None))


def is_same_source(one: object, other: object) -> bool:
    """Return whether two sources or hooks are interchangeable.

    They are if they are one object or one file, or functions from one ``def`` whose defaults and
    enclosing variables have the same values.
    """
    if isinstance(one, str | Path) and isinstance(other, str | Path):
        return Path(one) == Path(other)
    if isinstance(one, partial) and isinstance(other, partial):
        return (
            is_same_source(one.func, other.func)
            and _are_same_values(one.args, other.args)
            and one.keywords.keys() == other.keywords.keys()
            and _are_same_values(one.keywords.values(), other.keywords.values())
        )
    if not is_redefinition(one, other):
        return bool(one == other) if type(one) is type(other) else False
    return all(
        _are_same_values(*pair)
        for pair in zip(_captured_values(one), _captured_values(other), strict=True)
    )


def is_redefinition(one: object, other: object) -> bool:
    """Return whether two functions come from one ``def`` that has run more than once.

    Their defaults and enclosing variables may differ.
    """
    return (
        isinstance(one, FunctionType)
        and isinstance(other, FunctionType)
        and one.__code__ is other.__code__
        and one.__globals__ is other.__globals__
    )


def _captured_values(function: Any) -> list[list[Any]]:
    """Return the enclosing variables, the defaults and the keyword defaults of a function."""
    variables = []
    for cell in function.__closure__ or ():
        try:
            variables.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            variables.append(cell)
    keyword_defaults = sorted((function.__kwdefaults__ or {}).items())
    return [variables, list(function.__defaults__ or ()), [value for _, value in keyword_defaults]]


def _are_same_values(some: Any, others: Any) -> bool:
    """Compare values by identity, and plain values by type and value."""
    some, others = list(some), list(others)
    return len(some) == len(others) and all(map(_is_same_value, some, others))


def _is_same_value(one: object, other: object) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and isinstance(one, _PLAIN_TYPES) and one == other
