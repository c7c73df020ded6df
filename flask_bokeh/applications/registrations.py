"""Everything that is registered on an extension, and what of it one Flask application has."""

from __future__ import annotations

from collections.abc import Mapping

from .registry import HookRegistry, Registry, Source

__all__ = ("Registrations",)


class Registrations:
    """Everything that is registered on an extension.

    Each Flask application has its own copy from its first page on: what is registered later is for
    applications that come later. So registering is refused from the first page of one application
    until the ``init_app`` of another, because it would be without effect.
    """

    def __init__(self) -> None:
        self.applications = Registry()
        self.hooks = HookRegistry("customize", "f(doc, visit)")
        self.guards = HookRegistry("guard", "f()", "f(visit)")
        self.user_loaders = HookRegistry("user_loader", "f()")
        """The last one counts."""

    def reopen(self) -> None:
        """Accept registrations: a Flask application has been added."""
        for some in (self.applications, *self._functions()):
            some.reopen()

    def copy(self, more: Mapping[str, Source]) -> Registrations:
        """Return a copy that later registrations do not change, with more applications in it."""
        copy = Registrations()
        copy.applications = self.applications.merged(more)
        copy.hooks, copy.guards, copy.user_loaders = (some.copy() for some in self._functions())
        return copy

    def freeze(self, more: Mapping[str, Source]) -> Registrations:
        """Return a Flask application's own copy, and refuse registrations from now on.

        :param more: applications of this Flask application alone.
        :raises RegistrationError: if a hook or guard is for no application.
        """
        copy = self.copy(more)
        for some in copy._functions():
            some.check(copy.applications)
        for each in (self.applications, *self._functions()):
            each.close()
        return copy

    def _functions(self) -> tuple[HookRegistry, HookRegistry, HookRegistry]:
        return self.hooks, self.guards, self.user_loaders
