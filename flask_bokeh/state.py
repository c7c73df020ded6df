"""What one Flask application has of flask_bokeh: made by ``init_app``, found in
``app.extensions["bokeh"]``.

It does not import Flask: what it needs from the site it gets as an ``Integration``. The server is
started on first use, once in each process, so it survives a fork (gunicorn's workers,
``--preload``), the reloader and several applications in a process.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from .applications.hosted import build_applications
from .applications.registrations import AppRegistrations, ExtensionRegistrations
from .applications.registry import HookRegistry, Registry
from .errors import HandoffError, ServerStartError, WaitTimeoutError
from .runtime.lifecycle import register, stop_all_at_exit
from .security.authorizer import Authorizer
from .security.integration import Integration
from .security.limits import Limits
from .security.tokens import Token
from .server.closing import SessionCloser
from .server.in_process import InProcessServer
from .server.pull import PulledSession, pull_client, pull_direct
from .settings import Settings
from .workers.runtime_dir import RuntimeDir
from .workers.sender import WorkerChannel, request_transfer

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("BokehState",)

logger = logging.getLogger("flask_bokeh")


@dataclass(slots=True, eq=False, weakref_slot=True)
class BokehState:
    """Settings, registrations and server of one Flask application. For any thread."""

    settings: Settings
    integration: Integration
    extension_registrations: InitVar[ExtensionRegistrations]
    """Those of the extension, which other Flask applications may share."""
    registrations: AppRegistrations = field(init=False, repr=False)
    """Those of this Flask application, ``BOKEH_APPLICATIONS`` included."""
    authorizer: Authorizer = field(init=False, repr=False)
    """Issues, authorizes and revokes tokens."""
    closer: SessionCloser = field(init=False, repr=False)
    """Ends sessions in all workers."""
    _server: InProcessServer | None = field(default=None, repr=False)
    _owner: int = field(default=0, repr=False)
    _meeting: RuntimeDir | EllipsisType | None = field(default=..., repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self, extension_registrations: ExtensionRegistrations) -> None:
        self.registrations = AppRegistrations(extension_registrations, self.settings.applications)
        self.authorizer = Authorizer(
            self.settings,
            self.integration,
            find_runtime_dir=lambda: self.folder,
            check_path=self.registrations.check_path,
            has_session=self._lives,
        )
        self.closer = SessionCloser(self)
        register(self)

    @property
    def applications(self) -> Registry:
        """The registered applications."""
        return self.registrations.applications

    @property
    def guards(self) -> HookRegistry:
        """The guards of this Flask application."""
        return self.registrations.guards

    @property
    def meeting(self) -> RuntimeDir | None:
        """Finds where this site's workers meet; None if others can't know the key."""
        if isinstance(self._meeting, EllipsisType):
            authorizer = self.authorizer
            self._meeting = (
                RuntimeDir(authorizer.tokens.key, self.settings.runtime_dir)
                if authorizer.has_shared_key
                else None
            )
        return self._meeting

    @property
    def folder(self) -> Path | None:
        """Where this site's workers meet now; None where they can't."""
        return None if self.meeting is None else self.meeting.find()

    def find_owner(self, token: Token) -> WorkerChannel | None:
        """The way to the worker that holds the session; None if this process serves it.

        :raises HandoffError: for a pulled session: 410 if it has gone, 503 if its worker does not
            answer.
        """
        if token.worker_id is None:
            return None
        server, visit = self.running(), token.visit
        try:
            if server is None or server.worker_id != token.worker_id:
                return request_transfer(self.folder, token.worker_id, visit.path, visit.session_id)
            if not self._lives(token):
                raise HandoffError("The pulled session has ended.", 410)
        except HandoffError:
            if token.pulled:  # others are created again
                raise
        return None

    def server(self) -> InProcessServer:
        """The server of this process, started if need be.

        :raises ServerStartError: with the cause, within ``BOKEH_START_TIMEOUT`` seconds.
        """
        return self.running() or self.start()

    def start(self, io_loop: IOLoop | None = None) -> InProcessServer:
        """Start the server now.

        :param io_loop: a loop that the caller owns and runs.
        :raises ServerStartError: as :meth:`server`; also if it runs already on another loop.
        """
        authorizer = self.authorizer
        with self._locked():
            if self._server is None or self._owner != os.getpid():
                limits = Limits(
                    self.settings,
                    authorizer.revocations,
                    subject_digests=authorizer.subject_digests,
                )
                hosted = build_applications(self.registrations.freeze(), limits, self.integration)
                server = InProcessServer.start(
                    hosted,
                    self.settings,
                    limits,
                    authorizer.tokens,
                    io_loop,
                    None if self.meeting is None else self.meeting.find,
                )
                self._server, self._owner = server, os.getpid()
                stop_all_at_exit()
            elif io_loop is not None and self._server.loop.io_loop is not io_loop:
                raise ServerStartError(
                    "The Bokeh server runs already, on another loop. Call bokeh.start(io_loop=...) "
                    "before the first page, or bokeh.stop() first."
                )
            return self._server

    def stop(self) -> None:
        """Stop the server of this process, if it runs. Not from the loop's thread. Idempotent."""
        if (running := self.running()) is not None:
            running.loop.check_not_on_loop_thread("stopping the Bokeh server")
        server = self._taken()
        if server is not None:
            server.stop()
        self.closer.end_threads(1.0)

    async def stop_async(self) -> None:
        """The same on the server's loop, for a loop that the caller owns."""
        server = self._taken()
        if server is not None:
            await server.stop_async()
        self.closer.end_threads(0.0)  # those that wait for this loop must not be waited for

    def forked(self) -> None:
        """In the child, where a lock that another thread held would stay locked for ever."""
        self._lock = threading.Lock()
        self.closer.forked()
        if self._server is not None and self._owner == os.getppid():
            self._server.forked()

    def close_sessions(self, user: str, then: float | None = None) -> int:
        """End the sessions of a user in all workers: see :meth:`SessionCloser.close`."""
        return self.closer.close(user, then)

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
        """A session in the caller's hands: see :mod:`flask_bokeh.server.in_process.pull`."""
        transport = transport or self.settings.pull_transport
        if transport not in ("direct", "client"):
            raise ValueError(f"transport is {transport!r}; expected 'direct' or 'client'.")
        self.registrations.check_path(path)
        server = self.server()
        server.long_waits.check()
        principal = self.integration.identify_or_set_cookie()
        token = self.authorizer.issue(
            path,
            arguments=arguments,
            data=data,
            principal=principal,
            user=user,
            worker_id=server.worker_id,
            skip_guards=skip_guards,
        )
        server.limits.reserve(token, principal)
        timeout = self.settings.pull_timeout
        if transport == "direct":
            pulled = pull_direct(server, token, self.integration.application_headers(), timeout)
        else:
            pulled = pull_client(server, token, timeout, self.settings.max_message_size)
        with pulled as session:
            yield session

    @contextmanager
    def _locked(self) -> Iterator[None]:
        timeout = self.settings.start_timeout
        if not self._lock.acquire(timeout=timeout):
            raise WaitTimeoutError("another thread to start the Bokeh server", timeout)
        try:
            yield
        finally:
            self._lock.release()

    def _taken(self) -> InProcessServer | None:
        with self._locked():
            server, self._server = self._server, None
        return server if self._owner == os.getpid() else None

    def running(self) -> InProcessServer | None:
        """The server of this process, if it runs."""
        return self._server if self._owner == os.getpid() else None

    def _lives(self, token: Token) -> bool:
        server, visit = self.running(), token.visit
        return server is not None and server.find_session(visit.path, visit.session_id) is not None
