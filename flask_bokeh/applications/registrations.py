"""The registrations of an extension, and those of one Flask application.

An extension accepts registrations at any time. Each Flask application freezes its own copy of them
with its first page, so it does not change while it serves pages, and an application that serves
pages does not stop others from being set up: a test suite may call its application factory for
each test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakSet

from ..errors import RegistrationError
from .registry import BeforeAdding, HookRegistry, Registry, Source

__all__ = ("AppRegistrations", "ExtensionRegistrations", "Registrations")


class Registrations:
    """Applications, and functions for them."""

    def __init__(self, before_adding: BeforeAdding = lambda name: None) -> None:
        self.applications = Registry(before_adding)
        self.hooks = HookRegistry("customize", "f(doc, visit)", before_adding=before_adding)
        self.guards = HookRegistry("guard", "f()", "f(visit)", before_adding=before_adding)
        self.user_loaders = HookRegistry("user_loader", "f()", before_adding=before_adding)
        """The last one is used."""

    @property
    def functions(self) -> tuple[HookRegistry, HookRegistry, HookRegistry]:
        """The registries of functions."""
        return self.hooks, self.guards, self.user_loaders

    def copy(self, more: Mapping[str, Source]) -> Registrations:
        """Return a copy with more applications in it.

        :raises RegistrationError: as :meth:`Registry.add`.
        """
        copy = Registrations()
        copy.applications = self.applications.copy(more)
        copy.hooks, copy.guards, copy.user_loaders = (some.copy() for some in self.functions)
        return copy


class ExtensionRegistrations(Registrations):
    """The registrations of one ``FlaskBokeh``, for all its Flask applications.

    A registration without effect is refused: one that comes when all Flask applications are frozen,
    unless another one is initialized after it. In a request, an exception is raised at once.
    Elsewhere an application factory may be at work, so it is raised when a frozen application
    makes its next page.
    """

    def __init__(self, in_request: Callable[[], bool] = lambda: False) -> None:
        """:param in_request: tells whether this code runs in a request."""
        super().__init__(self._check_not_late)
        self._in_request = in_request
        self._apps: WeakSet[AppRegistrations] = WeakSet()
        self._late: list[str] = []

    def add_app(self, app: AppRegistrations) -> None:
        """Add a Flask application, which has the registrations so far and those to come."""
        self._apps.add(app)
        self._late.clear()
        for some in self.functions:
            some.start_generation()

    def check_none_is_late(self) -> None:
        """:raises RegistrationError: if no Flask application has some of the registrations."""
        if self._late:
            raise _late_error(*self._late)

    def _check_not_late(self, name: str) -> None:
        if not self._apps or not all(app.is_frozen for app in self._apps):
            return
        if self._in_request():
            raise _late_error(name)
        self._late.append(name)


class AppRegistrations:
    """The registrations of one Flask application: those of its extension, until they are frozen."""

    def __init__(self, extension: ExtensionRegistrations, more: Mapping[str, Source]) -> None:
        """
        :param more: further applications of this Flask application.
        :raises RegistrationError: as :meth:`Registry.add`.
        """
        self._extension = extension
        self._more = more
        self._frozen: Registrations | None = None
        extension.copy(more)
        extension.add_app(self)

    @property
    def is_frozen(self) -> bool:
        """True from the first page on."""
        return self._frozen is not None

    @property
    def current(self) -> Registrations:
        """The frozen registrations, or a copy of the present ones."""
        return self._frozen or self._extension.copy(self._more)

    @property
    def applications(self) -> Registry:
        """The applications."""
        return self.current.applications

    @property
    def guards(self) -> HookRegistry:
        """The guards."""
        return self.current.guards

    @property
    def user_loaders(self) -> HookRegistry:
        """The user loaders, of which the last one is used."""
        return self.current.user_loaders

    def freeze(self) -> Registrations:
        """Return the registrations, which later ones don't change from now on.

        :raises RegistrationError: if a hook or a guard is for a path without an application, or
            registrations came too late for all Flask applications.
        """
        if self._frozen is not None:
            self._extension.check_none_is_late()
            return self._frozen
        registrations = self.current
        for some in registrations.functions:
            some.check_paths(registrations.applications)
        self._frozen = registrations
        return registrations

    def check_path(self, path: str) -> None:
        """Freeze the registrations, and check that there is an application at a path.

        :raises RegistrationError: as :meth:`freeze`.
        :raises UnknownApplicationError: listing the known paths.
        """
        self.freeze().applications.get(path)


def _late_error(*names: str) -> RegistrationError:
    return RegistrationError(
        f"Registered too late: {', '.join(names)}. Each Flask application of this FlaskBokeh has "
        "made its first page or started its server, and accepts no more registrations. Register "
        "in create_app(), or call init_app(app) for the application that this is meant for."
    )
