"""The registrations of one Flask application, frozen by its first page."""

from __future__ import annotations

from collections.abc import Mapping

from .registrations import Registrations
from .registry import HookRegistry, Registry, Source

__all__ = ("AppRegistrations",)


class AppRegistrations:
    """A view of the extension's registrations, until :meth:`freeze` makes a copy of them.

    :param shared: the registrations of the extension, which other Flask applications share.
    :param own: applications of this Flask application alone, from ``BOKEH_APPLICATIONS``.
    """

    def __init__(self, shared: Registrations, own: Mapping[str, Source]) -> None:
        self._shared = shared
        self._own = own
        self._frozen: Registrations | None = None

    @property
    def current(self) -> Registrations:
        """The registrations: the frozen copy, or a copy of what is registered so far."""
        return self._frozen or self._shared.copy(self._own)

    @property
    def applications(self) -> Registry:
        return self.current.applications

    @property
    def guards(self) -> HookRegistry:
        return self.current.guards

    @property
    def user_loaders(self) -> HookRegistry:
        return self.current.user_loaders

    def freeze(self) -> Registrations:
        """Return the frozen copy; the first call makes it. Later registrations are refused.

        :raises: as :meth:`Registrations.freeze`.
        """
        if self._frozen is None:
            self._frozen = self._shared.freeze(self._own)
        return self._frozen

    def check_path(self, path: str) -> None:
        """Freeze the registrations, and check that there is an application at a path.

        :raises UnknownApplicationError: listing the known paths.
        """
        self.freeze().applications.get(path)
