"""The two transports of ``pull_session``.

*direct* creates the session on the loop and holds its document's lock while the view edits the
server's own document. *client* goes through ``bokeh.client`` and a WebSocket. With both, when the
block ends, all edits are on the server, the application's callbacks are alive, and nothing is left
behind but the session, which waits for its browser.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..applications.hosted import HostedApplication
from ..bokeh_api import BokehSession, ClientConnection, exclusive_document, restore_curdoc
from ..errors import FlaskBokehError, ServerStoppedError, WaitTimeoutError
from ..runtime.gevent import gevent_patched
from ..runtime.long_waits import LongWaits
from ..runtime.loop import ServerLoop
from ..runtime.tasks import thread_runs_a_loop
from ..security.tokens import Token
from .pulled_session import PulledSession

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("PullServer", "pull_client", "pull_direct")


class PullServer(Protocol):
    """The parts of an :class:`InProcessServer` that are needed to pull sessions."""

    loop: ServerLoop
    long_waits: LongWaits

    @property
    def url(self) -> str | None: ...
    def application(self, path: str) -> HostedApplication: ...
    def find_session(self, path: str, session_id: str) -> BokehSession | None: ...
    async def create_session(self, token: Token, headers: Mapping[str, str]) -> BokehSession: ...


@contextmanager
def pull_direct(
    server: PullServer, token: Token, headers: Mapping[str, str], timeout: float
) -> Iterator[PulledSession]:
    """Create the token's session on the loop, and hold its document's lock in the block.

    :param headers: the headers of the request that the application sees.
    :param timeout: seconds, for each of the two waits: for the session, and for its release.
    :raises: as :meth:`ServerBackend.pull`.
    """
    what = f"a session of {token.visit.path}"
    server.loop.check_not_on_loop_thread(f"pulling {what}")
    editing = server.loop.enter(
        _edited_document(server, token, headers),
        entering=what,
        leaving=f"{what} to be let go",
        timeout=timeout,
        long_waits=server.long_waits,
    )
    try:
        with editing as document, restore_curdoc():
            yield PulledSession(token, document)
    except WaitTimeoutError:  # of the end of the block
        _expire(server, token)
        raise


@asynccontextmanager
async def _edited_document(
    server: PullServer, token: Token, headers: Mapping[str, str]
) -> AsyncIterator[Document]:
    """Create the token's session, and hold its document's lock in the block. On the loop.

    After an error the session ends soon, because no page will show it. A wait that runs out does
    not cancel this: Bokeh 3.9 would keep a broken session.
    """
    application = server.application(token.visit.path)
    with application.pulling(token.visit.session_id):
        session = await server.create_session(token, headers)
    try:
        _raise_failure(application, token)
        async with exclusive_document(session) as document:
            yield document
    except BaseException:
        session.request_expiration()
        raise


@contextmanager
def pull_client(
    server: PullServer, token: Token, timeout: float, max_message_size: int
) -> Iterator[PulledSession]:
    """Create the token's session through ``bokeh.client``, and edit a copy of its document.

    Bokeh's own ``pull_session`` does not wait for the edits, waits without a bound, and closes
    neither connection nor loop nor executor; all of that is done here.

    :param timeout: seconds, for each wait.
    :param max_message_size: bytes.
    :raises: as :meth:`ServerBackend.pull`.
    """
    visit = token.visit
    what = f"a session of {visit.path}"
    server.loop.check_not_on_loop_thread(f"pulling {what}")
    if thread_runs_a_loop() and not gevent_patched():
        raise FlaskBokehError(
            "transport='client' can't run in an async view, whose thread runs a loop already. "
            "Use transport='direct'."
        )
    if server.url is None:
        raise FlaskBokehError(
            "transport='client' needs a TCP port; BOKEH_SERVER_OPTIONS has a unix_socket."
        )
    application = server.application(visit.path)
    connection = ClientConnection(
        visit.session_id,
        token.encoded,
        url=f"{server.url.replace('http', 'ws', 1)}{visit.path.rstrip('/')}/ws",
        timeout=timeout,
        max_message_size=max_message_size,
        long_waits=server.long_waits,
    )
    try:
        with closing(connection):
            with application.pulling(visit.session_id):
                document = connection.pull(what)
            _raise_failure(application, token)
            yield PulledSession(token, document, partial(connection.force_roundtrip, what))
            connection.force_roundtrip(f"the edits of {what} to arrive")
    except BaseException:
        _expire(server, token)
        raise


def _raise_failure(application: HostedApplication, token: Token) -> None:
    """:raises ApplicationFailedError: if the application or a hook raised for this session."""
    failure = application.pop_pull_failure(token.visit.session_id)
    if failure is not None:
        raise failure


def _expire(server: PullServer, token: Token) -> None:
    """Let a session end soon: the view fails, so no browser will connect to it."""

    async def expire() -> None:
        session = server.find_session(token.visit.path, token.visit.session_id)
        if session is not None:
            session.request_expiration()

    with suppress(ServerStoppedError):  # its sessions ended with it
        server.loop.submit(expire)
