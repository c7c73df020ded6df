"""The parts of flask_bokeh that belong to one Flask application."""

from __future__ import annotations

from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING

from .applications.hosted import build_applications
from .applications.registrations import AppRegistrations, ExtensionRegistrations
from .runtime.background import BackgroundThreads
from .runtime.lifecycle import register
from .security.authorizer import Authorizer
from .security.integration import Integration
from .security.limits import Limits
from .server.backend import ServerBackend
from .server.closing import SessionCloser
from .server.in_process import InProcessServer
from .server.manager import ServerManager
from .server.pull import SessionPuller
from .server.routing import SessionRouter
from .settings import Settings
from .workers.runtime_dir import RuntimeDir

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("AppState",)


class AppState:
    """Container of the parts; made by ``init_app``, found in ``app.extensions["bokeh"]``.

    Thread-safe. It knows no Flask: ``integration`` is the interface to the site.
    """

    def __init__(
        self,
        settings: Settings,
        integration: Integration,
        extension_registrations: ExtensionRegistrations,
    ) -> None:
        """:param extension_registrations: those that other Flask applications share."""
        self.settings = settings
        self.integration = integration
        self.registrations = AppRegistrations(extension_registrations, settings.applications)
        """The applications, hooks, guards and user loaders of this Flask application."""
        self.servers = ServerManager(self._start_server, settings.start_timeout)
        """Starts and stops the server of this process."""
        self.router = SessionRouter(self.servers, self.find_runtime_dir)
        """Finds the process that has a session."""
        self.authorizer = Authorizer(
            settings,
            integration,
            find_runtime_dir=self.find_runtime_dir,
            check_path=self.registrations.check_path,
            has_session=self.router.has_session,
        )
        """Issues, authorizes and revokes tokens."""
        self.puller = SessionPuller(
            settings, integration, self.authorizer, self.servers, self.registrations.check_path
        )
        """Pulls sessions for views."""
        self.closer = SessionCloser(
            settings, self.authorizer, self.servers, lambda: self.runtime_dir
        )
        """Closes the sessions of a user in all workers."""
        self.background = BackgroundThreads()
        """Threads for work that nobody waits for."""
        register(self)

    @property
    def runtime_dir(self) -> RuntimeDir | None:
        """The folder that the site's workers share; None if they have no key in common."""
        if isinstance(self._runtime_dir, EllipsisType):
            self._runtime_dir = (
                RuntimeDir(self.authorizer.tokens.key, self.settings.runtime_dir)
                if self.authorizer.has_shared_key
                else None
            )
        return self._runtime_dir

    _runtime_dir: RuntimeDir | EllipsisType | None = ...

    def find_runtime_dir(self) -> Path | None:
        """Return that folder, made if it is missing; None if there can't be one."""
        return None if self.runtime_dir is None else self.runtime_dir.find()

    def stop(self) -> None:
        """Stop the server and the threads of this process. Not from the loop's thread. Idempotent.

        :raises LoopThreadError: on the server's own loop.
        """
        self.servers.stop()
        self.background.stop(1.0)

    async def stop_async(self) -> None:
        """Stop on the server's own loop, which the caller owns. Idempotent."""
        await self.servers.stop_async()
        self.background.stop(0.0)  # threads that wait for this loop must not be waited for

    def forked(self) -> None:
        """Reset the parts that belong to the parent, in a child process."""
        self.servers.forked()
        self.background.forked()

    def _start_server(self, io_loop: IOLoop | None) -> ServerBackend:
        limits = Limits(
            self.settings,
            self.authorizer.revocations,
            subject_digests=self.authorizer.subject_digests,
        )
        return InProcessServer.start(
            build_applications(self.registrations.freeze(), limits, self.integration),
            self.settings,
            limits,
            self.authorizer.tokens,
            io_loop,
            None if self.runtime_dir is None else self.find_runtime_dir,
        )
