"""``pull_session``: a session in the hands of a Flask view.

Two transports, one promise: when the block ends, the edits are on the server, the
application's callbacks live, and nothing is left behind but the session, which waits for its
browser.

*direct* creates the session on the IOLoop and keeps its document's lock while the view edits
the server's own document. *client* goes through ``bokeh.client`` and a WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bokeh.document.events import SessionCallbackAdded, SessionCallbackRemoved

from ..applications.hosted import HostedApplication
from ..bokeh_api.v3.client import ClientConnection
from ..bokeh_api.v3.curdoc import restore_curdoc
from ..errors import FlaskBokehError, ServerStoppedError, WaitTimeoutError
from ..runtime.gevent import gevent_patched, new_future
from ..runtime.loop import thread_runs_a_loop
from ..security.tokens import Token
from .in_process import InProcessServer

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.session import ServerSession

__all__ = ("PulledSession", "pull_client", "pull_direct")


def _nothing_to_send() -> None:
    """In direct mode the edited document is the server's own."""


@dataclass(slots=True, eq=False)
class PulledSession:
    """A session pulled for this request. Edit its document until the block ends."""

    token: Token = field(repr=False)
    document: Document = field(repr=False)
    force_roundtrip: Callable[[], None] = field(default=_nothing_to_send, repr=False)
    """Wait until the server has every edit made so far. The end of the block does it, too."""
    embedded: bool = field(default=False, repr=False)
    """Whether a template has rendered it. A page shows a session once."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self.token.visit.session_id

    @property
    def path(self) -> str:
        """The application's path."""
        return self.token.visit.path


@contextmanager
def pull_direct(
    server: InProcessServer, token: Token, headers: Mapping[str, str], timeout: float
) -> Iterator[PulledSession]:
    """Create the token's session on the IOLoop, and hold its document's lock in the block.

    Not from the loop's thread.

    :param headers: what the application sees as the headers of the request.
    :param timeout: seconds, for each of the two waits: creating the session, and letting go.
    :raises ApplicationFailedError: if the application or one of its hooks raised.
    :raises LimitError: if it takes long, and too many other pages wait already.
    :raises ServerStoppedError: if the server stops meanwhile.
    :raises WaitTimeoutError: if a wait ran out.
    """
    what = f"a session of {token.visit.path}"
    server.loop.check_not_on_loop_thread(f"pulling {what}")
    opened: Future[ServerSession] = new_future()
    done: Future[bool] = new_future()
    holding = server.loop.submit(_hold, server, token, headers, opened, done)
    holding.add_done_callback(lambda _: _never_opened(holding, opened))
    keep = False
    try:
        session = server.loop.wait(opened, what=what, timeout=timeout, long_waits=server.long_waits)
        with restore_curdoc():
            yield PulledSession(token, session.document)
        keep = True
    finally:
        with suppress(InvalidStateError):  # cancelled: the server has stopped
            done.set_result(keep)
    try:
        # Not cancelled: Bokeh 3.9 would keep a broken session.
        server.loop.wait(holding, what=f"{what} to be let go", timeout=timeout, cancel=False)
    except CancelledError as error:
        raise _stopped(what) from error
    except WaitTimeoutError:  # the view fails, so no browser will come for the session
        _expire(server, token)
        raise


async def _hold(
    server: InProcessServer,
    token: Token,
    headers: Mapping[str, str],
    opened: Future[ServerSession],
    done: Future[bool],
) -> None:
    application = _application(server, token)
    with application.expecting(token.visit.session_id):
        session = await server.create_session(token, headers)
    keep = False

    async def locked() -> None:
        nonlocal keep
        if opened.set_running_or_notify_cancel():  # else the view has stopped waiting
            with _dispatch_paused(session):
                opened.set_result(session)
                keep = await asyncio.wrap_future(done)

    try:
        _raise_failure(application, token)
        await session.with_document_locked(locked)
    finally:
        if not keep:
            session.request_expiration()


@contextmanager
def _dispatch_paused(session: ServerSession) -> Iterator[None]:
    """Keep the session from following its document while another thread edits it.

    Nobody is connected yet, so there is nobody to send a patch to. But the session would
    start and stop timers on the loop from that thread, which no loop allows and Bokeh 3.9
    gets wrong. They are started and stopped here, on the loop, afterwards.
    """
    document = session.document
    before = set(document.session_callbacks)
    document.callbacks.remove_on_change(session)
    try:
        yield
    finally:
        document.callbacks.on_change_dispatch_to(session)
        after = set(document.session_callbacks)
        for callback in after - before:
            document.callbacks.trigger_on_change(SessionCallbackAdded(document, callback))
        for callback in before - after:
            document.callbacks.trigger_on_change(SessionCallbackRemoved(document, callback))


def _never_opened(holding: Future[None], opened: Future[ServerSession]) -> None:
    """Tell the waiting view that the session will not come."""
    if not opened.done() and opened.set_running_or_notify_cancel():
        error = None if holding.cancelled() else holding.exception()
        opened.set_exception(error or _stopped("a session"))


def _application(server: InProcessServer, token: Token) -> HostedApplication:
    application = server.context(token.visit.path).application
    assert isinstance(application, HostedApplication)  # the server hosts no others
    return application


def _raise_failure(application: HostedApplication, token: Token) -> None:
    """:raises ApplicationFailedError: if the application or a hook raised for this session."""
    failure = application.failure(token.visit.session_id)
    if failure is not None:
        raise failure


def _stopped(what: str) -> ServerStoppedError:
    return ServerStoppedError(f"The Bokeh server stopped while this process waited for {what}.")


@contextmanager
def pull_client(
    server: InProcessServer, token: Token, timeout: float, max_message_size: int
) -> Iterator[PulledSession]:
    """Pull the token's session through ``bokeh.client``.

    What Bokeh's own ``pull_session`` leaves out is done here: edits are waited for, each wait
    is bounded, and connection, loop and executor are closed. Not from the server's loop.

    :raises: as :func:`pull_direct`.
    """
    what = f"a session of {token.visit.path}"
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
    url = f"{server.url.replace('http', 'ws', 1)}{token.visit.path.rstrip('/')}/ws"
    application = _application(server, token)
    connection = ClientConnection(token, url, timeout, max_message_size, server.long_waits)
    keep = False
    try:
        with application.expecting(token.visit.session_id):
            connection.bounded(connection.session.pull, what)
        _raise_failure(application, token)
        document = connection.session.document
        if document is None:
            raise _stopped(what)
        yield PulledSession(
            token,
            document,
            lambda: connection.bounded(connection.session.force_roundtrip, what),
        )
        connection.bounded(connection.session.force_roundtrip, f"the edits of {what} to arrive")
        keep = True
    finally:
        try:
            connection.close()
        finally:
            if not keep:
                _expire(server, token)


def _expire(server: InProcessServer, token: Token) -> None:
    async def expire() -> None:
        session = server.find_session(token.visit.path, token.visit.session_id)
        if session is not None:
            session.request_expiration()

    with suppress(ServerStoppedError):  # its sessions are gone with it
        server.loop.submit(expire)
