"""Registries of applications, and of functions for applications.

A registry holds what was registered; :mod:`~flask_bokeh.applications.loading` makes Bokeh
applications of it when the server starts.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler

from ..errors import RegistrationError, UnknownApplicationError, kind_of
from .repeated_registrations import FACTORY_ADVICE, is_redefinition, is_same_source

__all__ = ("BeforeAdding", "HookRegistry", "Registration", "Registry", "Source", "check_path")

F = TypeVar("F", bound=Callable[..., Any])

Source = str | Path | Application | Callable[..., Any]

BeforeAdding = Callable[[str], None]
"""Called with a description of what is about to be added; may raise ``RegistrationError``."""

_PATH = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
# The URLs below that of an application which belong to Bokeh.
_RESERVED = frozenset({"ws", "autoload.js", "metadata", "static"})


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered application."""

    path: str
    source: Source
    page: bool
    """True if the application is also served as a page of its own."""


class Registry:
    """The registered applications, by path. Not thread-safe."""

    def __init__(self, before_adding: BeforeAdding = lambda name: None) -> None:
        self._before_adding = before_adding
        self._items: dict[str, Registration] = {}

    def add(self, path: str, source: Source, *, page: bool = False) -> None:
        """Register an application. Repeating a registration has no effect.

        :raises RegistrationError: if the path is malformed or taken, or the source is unsuitable.
        """
        check_path(path)
        known = self._items.get(path)
        if known is not None:
            if known.page == page and is_same_source(known.source, source):
                return
            raise RegistrationError(
                f"A Bokeh application is already registered at {path!r}. {FACTORY_ADVICE}, or set "
                "BOKEH_APPLICATIONS."
            )
        _check_source(path, source)
        self._before_adding(f"the application {path!r}")
        self._items[path] = Registration(path, source, page)

    def get(self, path: str) -> Registration:
        """Return the application at a path.

        :raises UnknownApplicationError: listing the known paths.
        """
        try:
            return self._items[path]
        except KeyError:
            raise UnknownApplicationError(path, self._items) from None

    def copy(self, more: Mapping[str, Source]) -> Registry:
        """Return a copy with more applications in it.

        :raises RegistrationError: as :meth:`add`.
        """
        copy = Registry()
        copy._items = dict(self._items)
        for path, source in more.items():
            copy.add(path, source)
        return copy

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._items.values())

    def __contains__(self, path: object) -> bool:
        return path in self._items


class HookRegistry:
    """Functions for one application or for all, in the order of registration."""

    def __init__(
        self, kind: str, *forms: str, before_adding: BeforeAdding = lambda name: None
    ) -> None:
        """
        :param kind: the decorator that registers them, such as ``customize``, for errors.
        :param forms: the ways to call a function, such as ``f(doc, visit)``.
        """
        self._kind = kind
        self._forms = forms
        self._before_adding = before_adding
        self._items: list[_Hook] = []
        self._generation = 0

    def decorator(self, path: str | None) -> Callable[[F], F]:
        """Return a decorator that registers a function for an application, or for all.

        :param path: the application; None for all applications.
        :raises RegistrationError: if the path is malformed. The decorator raises it for something
            that can't be called in one of the forms.
        """
        if path is not None:
            check_path(path)
        return lambda function: self._add(path, function)

    def for_path(self, path: str) -> list[Callable[..., Any]]:
        """Return the functions for an application, including those for all applications."""
        return [hook.function for hook in self._items if hook.path in (None, path)]

    def check_paths(self, applications: Registry) -> None:
        """:raises RegistrationError: if a function is for a path without an application."""
        for hook in self._items:
            if hook.path is not None and hook.path not in applications:
                known = ", ".join(sorted(item.path for item in applications)) or "none"
                raise RegistrationError(
                    f"{self._name(hook.path)} has no application. Registered: {known}."
                )

    def copy(self) -> HookRegistry:
        """Return a copy."""
        copy = HookRegistry(self._kind, *self._forms)
        copy._items = list(self._items)
        return copy

    def start_generation(self) -> None:
        """Start the registrations that belong to the next Flask application."""
        self._generation += 1

    def _add(self, path: str | None, function: F) -> F:
        if not any(_accepts_arguments(function, form) for form in self._forms):
            forms = " or ".join(self._forms)
            name = getattr(function, "__qualname__", kind_of(function))
            raise RegistrationError(f"{self._kind} takes a function {forms}, not {name}.")
        name = self._name(path)
        known = [hook for hook in self._items if hook.path == path]
        if any(is_same_source(hook.function, function) for hook in known):
            return function  # repeated by a factory; it must not run twice
        if any(
            hook.generation < self._generation and is_redefinition(hook.function, function)
            for hook in known
        ):
            raise RegistrationError(
                f"{name} has {function.__qualname__} already, from before init_app(app), with "
                f"other values around it; both would run. {FACTORY_ADVICE}."
            )
        self._before_adding(name)
        self._items.append(_Hook(path, function, self._generation))
        return function

    def _name(self, path: str | None) -> str:
        return f"{self._kind}({'' if path is None else repr(path)})"


@dataclass(frozen=True, slots=True)
class _Hook:
    path: str | None
    function: Callable[..., Any]
    generation: int


def check_path(path: object) -> None:
    """:raises RegistrationError: if an application can't have this path."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise RegistrationError(
            f"The path {path!r} must be a string that starts with a slash."
            + (" Write the decorator with parentheses." if callable(path) else "")
        )
    segments = path.strip("/").split("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(segments):
        raise RegistrationError(
            f"The path {path!r} may hold letters, digits and . _ ~ - between slashes, and may "
            "not end with a slash."
        )
    for taken in _RESERVED.intersection(segments):
        raise RegistrationError(
            f"The path {path!r} can't hold {taken!r}: Bokeh answers there itself."
        )


def _check_source(path: str, source: object) -> None:
    """:raises RegistrationError: if a source can't fill a document."""
    if isinstance(source, str | Path | Application):
        return
    if not callable(source):
        raise RegistrationError(
            f"The Bokeh application at {path!r} is {kind_of(source)}; expected a function, "
            "the path of a script, directory or notebook, or a bokeh Application."
        )
    if inspect.iscoroutinefunction(source):
        raise RegistrationError(
            f"The Bokeh application at {path!r} is an async function, which Bokeh does not "
            "await. Fill the document in a plain function; callbacks may be async."
        )
    try:
        FunctionHandler(source)
    except ValueError as error:
        raise RegistrationError(
            f"The Bokeh application at {path!r} must take one argument, doc: {error}"
        ) from error


def _accepts_arguments(function: object, form: str) -> bool:
    """Return whether a function can be called in a form such as ``f(doc, visit)``."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin without a signature
        return True
    names = form.partition("(")[2].rstrip(")")
    try:
        signature.bind(*filter(None, names.split(", ")))
    except TypeError:
        return False
    return True
