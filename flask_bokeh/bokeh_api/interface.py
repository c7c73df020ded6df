"""Types that the adapters for all major versions of Bokeh have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bokeh.application import Application
    from bokeh.document import Document
    from tornado.web import Application as TornadoApplication

__all__ = (
    "Authorize",
    "BokehServer",
    "BokehSession",
    "ServedApplication",
    "SocketAccess",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAccess:
    """A WebSocket that has been authorized: whom its session belongs to."""

    user: str | None
    """The visiting user, for log lines; None for an anonymous visitor."""

    subject: str
    """A key of the visitor, whose WebSockets together get one share of loop and threads."""


Authorize = Callable[[str, "str | None"], SocketAccess]
"""Authorize a WebSocket, given the encoded token and the client's address (None if unknown).

Raises :class:`~flask_bokeh.errors.RefusedError` to refuse it, with the HTTP status and the text
for the client. Called on the loop's thread.
"""


class ServedApplication(Protocol):
    """The methods of a hosted application that its WebSockets call."""

    def debug(self) -> bool:
        """Return whether visitors may see tracebacks."""

    def check(self, document: Document) -> None:
        """Raise SerializationFailedError if the document can't be sent to a browser."""

    def show_failure(self, document: Document, error: BaseException) -> None:
        """Replace the contents of the document by the error box."""


class BokehSession(Protocol):
    """A live session of a :class:`BokehServer`. For the loop's thread."""

    @property
    def document(self) -> Document:
        """The session's document; edit it in :meth:`with_document_locked` only."""

    @property
    def connection_count(self) -> int:
        """Number of open WebSockets."""

    @property
    def expiration_requested(self) -> bool:
        """True if the session ends as soon as no WebSocket is open."""

    def request_expiration(self) -> None:
        """End the session as soon as no WebSocket is open."""

    def with_document_locked(self, func: Callable[[], Any]) -> Awaitable[Any]:
        """Call a function, or await a coroutine function, with the document's lock held."""


class BokehServer(Protocol):
    """A Bokeh server on a Tornado loop. For the loop's thread, except where noted."""

    @property
    def address(self) -> str | None:
        """The address that the server's own port is bound to; None for all. Thread-safe."""

    @property
    def port(self) -> int | None:
        """The server's own TCP port; None on a unix socket. Thread-safe."""

    @property
    def tornado(self) -> TornadoApplication:
        """The application that answers requests, those on hijacked sockets too."""

    def application(self, path: str) -> Application:
        """Return the hosted application of a path. Thread-safe."""

    def get_sessions(self) -> list[Any]:
        """Return all sessions. Thread-safe."""

    def find_session(self, path: str, session_id: str) -> BokehSession | None:
        """Return a session, or None if it does not exist. Thread-safe."""

    async def create_session(
        self, path: str, session_id: str, token: str, headers: Mapping[str, str]
    ) -> BokehSession:
        """Create a session, or return the one that has this id.

        :param token: the encoded token, which Bokeh keeps in the session's context.
        :param headers: the headers of the request that the application sees.
        """

    async def discard_expired(self) -> None:
        """End all sessions whose expiration is due or has been requested."""

    async def until_disconnected(self) -> None:
        """Wait until no session has an open WebSocket."""

    def unlisten(self) -> None:
        """Close the server's own port."""

    async def stop(self) -> None:
        """Stop the server; the hooks for destroyed sessions and the unloaded server run first."""

    def end_threads(self) -> None:
        """Tell Bokeh's worker threads to end. Thread-safe and idempotent."""

    async def until_threads_end(self) -> None:
        """Wait for at most half a second until Bokeh's worker threads have ended."""
