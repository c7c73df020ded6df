"""``pull_session``: issue a token, and let the view edit its session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import EllipsisType
from typing import Any, Literal, cast

from ..security.authorizer import Authorizer
from ..security.integration import Integration
from ..settings import Settings
from .manager import ServerManager
from .pulled_session import PulledSession

__all__ = ("SessionPuller",)


class SessionPuller:
    """Creates sessions for views that edit them. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        integration: Integration,
        authorizer: Authorizer,
        servers: ServerManager,
        check_path: Callable[[str], object],
    ) -> None:
        """:param check_path: raises UnknownApplicationError for a path without application."""
        self._settings = settings
        self._integration = integration
        self._authorizer = authorizer
        self._servers = servers
        self._check_path = check_path

    @contextmanager
    def pull(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        user: str | EllipsisType | None = ...,
        transport: str | None = None,
        skip_guards: bool = False,
    ) -> Iterator[PulledSession]:
        """Create a session of an application; edit it in the block. In a request.

        :param user: the visiting user that the application sees; by default, the principal's.
        :param transport: ``direct`` or ``client``; by default ``BOKEH_PULL_TRANSPORT``.
        :param skip_guards: pull the session without running the guards.
        :raises: as :meth:`ServerBackend.pull` and :meth:`ServerBackend.reserve`.
        """
        transport = transport or self._settings.pull_transport
        if transport not in ("direct", "client"):
            raise ValueError(f"transport is {transport!r}; expected 'direct' or 'client'.")
        self._check_path(path)
        server = self._servers.get()
        server.check_waiting_pages()
        principal = self._integration.identify_or_set_cookie()
        token = self._authorizer.issue(
            path,
            arguments=arguments,
            data=data,
            principal=principal,
            user=user,
            worker_id=server.worker_id,
            skip_guards=skip_guards,
        )
        server.reserve(token, principal)
        headers = self._integration.application_headers()
        chosen = cast(Literal["direct", "client"], transport)
        with server.pull(token, headers, chosen) as session:
            yield session
