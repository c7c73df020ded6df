"""Which applications there are: a path, and what fills a document there.

A registry holds what was registered, on the extension, before any Flask application is known.
:func:`load` turns it into Bokeh applications, once for each process, when the server starts.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler

from ..errors import RegistrationError, UnknownApplicationError, kind_of
from .repeated import ADVICE, defined_again, same_source

__all__ = (
    "HookRegistry",
    "Registration",
    "Registry",
    "Source",
    "check_path",
)

F = TypeVar("F", bound=Callable[..., Any])

Source = str | Path | Application | Callable[..., Any]

_PATH = re.compile(r"/|(/[A-Za-z0-9._~-]+)+")
# The names under an application's path that the server answers itself.
_RESERVED = frozenset({"ws", "autoload.js", "metadata", "static"})


class Registration:
    """One registered application."""

    __slots__ = ("page", "path", "source")

    def __init__(self, path: str, source: Source, *, page: bool) -> None:
        self.path = path
        self.source = source
        self.page = page


class Registry:
    """The registered applications, by path. Not for several threads at once."""

    def __init__(self) -> None:
        self._items: dict[str, Registration] = {}
        self._closed = False

    def add(self, path: str, source: Source, *, page: bool = False) -> None:
        """Register an application. The same one again changes nothing.

        :raises RegistrationError: for a bad path, a taken path, a source of a wrong kind, or
            after :meth:`close`.
        """
        check_path(path)
        known = self._items.get(path)
        if known is not None and known.page == page and same_source(known.source, source):
            return
        if known is not None:
            raise RegistrationError(
                f"A Bokeh application is already registered at {path!r}. {ADVICE}, or set "
                "BOKEH_APPLICATIONS."
            )
        if self._closed:
            raise RegistrationError(
                f"The application {path!r} comes too late: the first page has been made. "
                "Register applications before the first page is shown; in create_app(), after "
                "init_app(app)."
            )
        if not isinstance(source, str | Path | Application) and not callable(source):
            raise RegistrationError(
                f"The Bokeh application at {path!r} is {kind_of(source)}; expected a function, "
                "the path of a script, directory or notebook, or a bokeh Application."
            )
        if not isinstance(source, str | Path | Application):
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
        self._items[path] = Registration(path, source, page=page)

    def get(self, path: str) -> Registration:
        """:raises UnknownApplicationError: listing the known paths."""
        try:
            return self._items[path]
        except KeyError:
            raise UnknownApplicationError(path, self._items) from None

    def close(self) -> None:
        """Refuse other registrations, until :meth:`reopen`."""
        self._closed = True

    def reopen(self) -> None:
        """Accept registrations again, for another Flask application."""
        self._closed = False

    def merged(self, more: Mapping[str, Source]) -> Registry:
        """A copy with more applications in it."""
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
    """Functions for one application or for all, in the order of their registration."""

    def __init__(self, kind: str, *forms: str) -> None:
        """
        :param kind: what registers them, for errors: ``customize`` or ``guard``.
        :param forms: how they may be called, such as ``f(doc, visit)``.
        """
        self._kind = kind
        self._forms = forms
        self._closed = False
        self._apps = 0
        self._items: list[tuple[str | None, Callable[..., Any], int]] = []

    def decorator(self, path: str | None) -> Callable[[F], F]:
        """A decorator that registers a function for an application, or for all.

        :raises RegistrationError: right away for a bad path; for something that can't be called
            as it will be; or after :meth:`close`.
        """
        if path is not None:
            check_path(path)
        return lambda function: self._add(path, function)

    def _add(self, path: str | None, function: F) -> F:
        if not callable(function) or not any(
            _accepts_arguments(function, form) for form in self._forms
        ):
            name = getattr(function, "__qualname__", kind_of(function))
            forms = " or ".join(self._forms)
            raise RegistrationError(f"{self._kind} takes a function {forms}, not {name}.")
        name = self._name(path)
        mine = [(known, apps) for at, known, apps in self._items if at == path]
        if any(same_source(known, function) for known, _ in mine):
            return function  # by a factory that is called again: it must not run twice
        if any(apps < self._apps and defined_again(known, function) for known, apps in mine):
            raise RegistrationError(
                f"{name} has {function.__qualname__} already, from before init_app(app), with "
                f"other values around it; both would run. {ADVICE}."
            )
        if self._closed:
            raise RegistrationError(
                f"{name} comes too late: the first page has been made. Register it before the "
                "first page is shown; in create_app(), after init_app(app)."
            )
        self._items.append((path, function, self._apps))
        return function

    def for_path(self, path: str) -> list[Callable[..., Any]]:
        """The functions of one application, and those of every application."""
        return [function for wanted, function, _ in self._items if wanted in (None, path)]

    def check(self, applications: Registry) -> None:
        """:raises RegistrationError: if one is for a path where no application is."""
        for path, _, _ in self._items:
            if path is not None and path not in applications:
                known = ", ".join(sorted(item.path for item in applications)) or "none"
                raise RegistrationError(
                    f"{self._name(path)} has no application. Registered: {known}."
                )

    def copy(self) -> HookRegistry:
        """Return a copy that later registrations do not change."""
        copy = HookRegistry(self._kind, *self._forms)
        copy._items = list(self._items)
        return copy

    def close(self) -> None:
        """Refuse other registrations, until :meth:`reopen`."""
        self._closed = True

    def reopen(self) -> None:
        """Accept registrations again, for another Flask application."""
        self._closed = False
        self._apps += 1

    def _name(self, path: str | None) -> str:
        return f"{self._kind}({'' if path is None else repr(path)})"


def check_path(path: object) -> None:
    """:raises RegistrationError: unless this can be the path of an application."""
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


def _accepts_arguments(function: Callable[..., Any], form: str) -> bool:
    try:
        signature = inspect.signature(function)
    except ValueError:  # it does not tell
        return True
    names = form.partition("(")[2].rstrip(")")
    try:
        signature.bind(*filter(None, names.split(", ")))
    except TypeError:
        return False
    return True
