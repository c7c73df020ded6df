"""The interface of a server that hosts the site's applications."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..bokeh_api import embed
from ..hijack.connection import HijackedConnection
from ..hijack.upgrade_request import UpgradeRequest
from ..security.principal import Principal
from ..security.tokens import Token
from .pulled_session import PulledSession

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

__all__ = ("Closing", "ServerBackend")


class Closing(Protocol):
    """Sessions that are being closed."""

    count: int
    """Number of sessions that nobody had closed before."""

    def wait(self, timeout: float) -> None:
        """Wait until the sessions have ended.

        :param timeout: seconds.
        :raises WaitTimeoutError: if they take longer; they are closed all the same.
        :raises Exception: any error of a session that may live on.
        """


class ServerBackend(Protocol):
    """A server that hosts the applications of one Flask application. Thread-safe.

    :class:`~flask_bokeh.server.in_process.InProcessServer` implements it for a Bokeh server in
    this process. Methods that wait must not be called on the server's own loop.
    """

    # --- address ----------------------------------------------------------------------------

    @property
    def worker_id(self) -> str:
        """A random ID of the process that hosts the sessions, for tokens."""

    @property
    def url(self) -> str | None:
        """The URL of the server's own port, without a slash at the end; None on a unix socket."""

    @property
    def port(self) -> int | None:
        """The server's own TCP port; None on a unix socket."""

    # --- limits -----------------------------------------------------------------------------

    def check_waiting_pages(self) -> None:
        """:raises LimitError: if as many pages wait for the server as may."""

    def limit_waiting_pages(self, count: int) -> None:
        """Let at most this many pages wait at a time, if the setting allows more."""

    def check(self, token: Token, principal: Principal) -> None:
        """:raises: as :meth:`reserve`."""

    def reserve(self, token: Token, principal: Principal) -> bool:
        """Reserve the token's session, if it is not reserved yet.

        :returns: whether the reservation is a new one.
        :raises LimitError: if the principal may have no more sessions.
        :raises SessionEndedError: if the session has been closed.
        """

    def release(self, session_id: str) -> None:
        """Release the reservation of a session that will not be created."""

    # --- applications and sessions ----------------------------------------------------------

    def metadata(self, path: str) -> Mapping[str, Any]:
        """Return the metadata of an application; empty if it has none."""

    def static_folder(self, path: str) -> str | None:
        """Return the folder of an application's static files; None if it has none."""

    def has_session(self, path: str, session_id: str) -> bool:
        """Return whether a session exists."""

    def render_page(self, token: Token, headers: Mapping[str, str], parts: embed.PageParts) -> str:
        """Create the token's session and return the HTML of its page.

        :param headers: the headers of the request that the application sees.
        :raises LimitError: if it takes long, and too many other pages wait already.
        :raises ServerStoppedError: if the server does not run.
        :raises WaitTimeoutError: if it takes longer than ``BOKEH_PULL_TIMEOUT``.
        """

    def pull(
        self, token: Token, headers: Mapping[str, str], transport: Literal["direct", "client"]
    ) -> AbstractContextManager[PulledSession]:
        """Create the token's session, and let the caller edit its document in the block.

        :param headers: the headers of the request that the application sees.
        :raises ApplicationFailedError: if the application or one of its hooks raised.
        :raises LimitError: if it takes long, and too many other pages wait already.
        :raises LoopThreadError: on the server's own loop.
        :raises ServerStoppedError: if the server stops meanwhile.
        :raises WaitTimeoutError: if a wait takes longer than ``BOKEH_PULL_TIMEOUT``.
        """

    def adopt(self, client: HijackedConnection, upgrade: UpgradeRequest) -> None:
        """Serve a client's WebSocket. Does not wait.

        :raises ServerStoppedError: if the server does not run; the caller restores the connection.
        """

    def close_sessions(self, subject_digests: Collection[str], revoked_at: float) -> Closing:
        """Start to close the sessions of a user. Does not wait.

        :param subject_digests: the values that :attr:`Token.subject` has for the user.
        :param revoked_at: seconds since the epoch; sessions of later pages are not closed.
        """

    # --- life cycle -------------------------------------------------------------------------

    @property
    def open_sockets(self) -> int:
        """Number of open WebSockets of hijacked connections."""

    def runs_on(self, io_loop: IOLoop) -> bool:
        """Return whether the server runs on a loop of the caller's."""

    def check_may_wait(self, what: str) -> None:
        """:raises LoopThreadError: on the server's own loop, which must not wait for itself."""

    def stop(self) -> None:
        """Stop the server within ``BOKEH_STOP_TIMEOUT`` seconds; log what failed."""

    async def stop_async(self) -> None:
        """Stop the server, on its own loop."""

    def forked(self) -> None:
        """Close inherited sockets, in a child process."""
