"""What one Flask application has of flask_bokeh: made by ``init_app``, found in
``app.extensions["bokeh"]``.

It knows no Flask: what it needs from the site it gets as functions. Every token is minted and
every token is admitted here, so this is where access is decided. The server is started on
first use, once in each process, so it survives a fork (gunicorn's workers, ``--preload``), the
reloader and several applications in a process.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from .applications.hosted import build_applications
from .applications.registrations import Registrations
from .applications.registry import HookRegistry, Registry
from .errors import HandoffError, ServerStartError, SessionEndedError, TokenError, WaitTimeoutError
from .runtime.lifecycle import register, stop_all_at_exit
from .security.keys import token_keys
from .security.limits import Limits
from .security.principal import Principal
from .security.revocation import RevocationList
from .security.site import Site
from .security.tokens import Token, TokenIssuer
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
    site: Site
    registered: Registrations
    """Those of the extension, which other Flask applications may share."""
    ended: RevocationList = field(init=False, repr=False)
    """Whose tokens open nothing any more."""
    closer: SessionCloser = field(init=False, repr=False)
    """Ends sessions in all workers."""
    _server: InProcessServer | None = field(default=None, repr=False)
    _owner: int = field(default=0, repr=False)
    _issuer: TokenIssuer | None = field(default=None, repr=False)
    _meeting: RuntimeDir | EllipsisType | None = field(default=..., repr=False)
    _frozen: Registrations | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.ended = RevocationList(lambda: self.folder, self.settings.token_max_age)
        self.closer = SessionCloser(self)
        register(self)

    @property
    def registrations(self) -> Registrations:
        """Those of this Flask application, ``BOKEH_APPLICATIONS`` included."""
        return self._frozen or self.registered.copy(self.settings.applications)

    @property
    def applications(self) -> Registry:
        """The registered applications."""
        return self.registrations.applications

    @property
    def guards(self) -> HookRegistry:
        """The guards of this Flask application."""
        return self.registrations.guards

    def settled(self) -> Registry:
        """The applications, once a page or the server needs them: from then on there are no others.

        :raises: as :meth:`Registrations.freeze`.
        """
        if self._frozen is None:
            self._frozen = self.registered.freeze(self.settings.applications)
        return self._frozen.applications

    @property
    def tokens(self) -> TokenIssuer:
        """Mints and reads this site's tokens."""
        if self._issuer is None:
            with self._locked():
                if self._issuer is None:
                    self._issuer = TokenIssuer(
                        keys=token_keys(self.settings.secret_key, self.site.secrets()),
                        expiration=self.settings.token_expiration,
                        max_age=self.settings.token_max_age,
                        max_arguments_size=self.settings.max_arguments_size,
                    )
        return self._issuer

    @property
    def meeting(self) -> RuntimeDir | None:
        """Finds where this site's workers meet; None if others can't know the key."""
        if isinstance(self._meeting, EllipsisType):
            known = self.settings.secret_key or self.site.secrets()
            self._meeting = RuntimeDir(self.tokens.key, self.settings.socket_dir) if known else None
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
        tokens = self.tokens
        with self._locked():
            if self._server is None or self._owner != os.getpid():
                limits = Limits(self.settings, self.ended, subject_digests=self.subject_digests)
                hosted = build_applications(
                    self.settled(), self.registrations.hooks, limits, self.site
                )
                server = InProcessServer.start(
                    hosted,
                    self.settings,
                    limits,
                    tokens,
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

    def new_token(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        principal: Principal | None = None,
        user: str | EllipsisType | None = ...,
        worker_id: str | None = None,
        skip_guards: bool = False,
    ) -> Token:
        """A token of a new session of an application. In a request, which the guards have seen.

        :param principal: who may use it; by default, who is asking.
        :param user: who visits; by default, the principal's user.
        :raises UnknownApplicationError: listing the known paths.
        :raises ArgumentsError: if arguments or data can't travel in a token.
        """
        self.settled().get(path)
        principal = self.site.visitor() if principal is None else principal
        token = self.tokens.mint(
            path,
            principal=principal,
            user=principal.user if isinstance(user, EllipsisType) else user,
            arguments=arguments,
            data=data,
            worker_id=worker_id,
        )
        if not skip_guards:
            self.site.check(token.visit)
        return token

    def authorize(self, path: str, text: str, principal: Principal) -> Token:
        """Decide whether who has this token may come in. In a request.

        :raises TokenError: if not.
        :raises SessionEndedError: if all that they had has been ended, after they got it.
        """
        token = self.tokens.read(text)
        if token.visit.path != path:
            raise TokenError("The session token is of another application.")
        if not self.tokens.belongs_to(token, principal):
            raise TokenError("The session token is of another user or browser.")
        if self.ended.ends(token):
            raise SessionEndedError("This session has been ended.")
        if token.subject is None and self.tokens.expired(token) and not self._lives(token):
            raise TokenError("The session token has expired: reload the page.")
        self.site.check(token.visit)
        return token

    def end_tokens(self, user: str) -> float:
        """Refuse the tokens of a user: see :meth:`SessionCloser.end_tokens`."""
        return self.closer.end_tokens(user)

    def close_sessions(self, user: str, then: float | None = None) -> int:
        """End the sessions of a user in all workers: see :meth:`SessionCloser.close`."""
        return self.closer.close(user, then)

    def subject_digests(self, user: str) -> tuple[str, ...]:
        """What the tokens that a user asks for are bound to."""
        return self.tokens.subject_digests(Principal(user=user))

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
        self.settled().get(path)
        server = self.server()
        server.long_waits.check()
        principal = self.site.visitor()
        token = self.new_token(
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
            pulled = pull_direct(server, token, self.site.headers(), timeout)
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
