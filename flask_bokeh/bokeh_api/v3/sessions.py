"""Functions for one session that reach behind Bokeh's public API.

For the loop's thread. Checked on Bokeh 3.9.2 and 3.10.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from bokeh.document.events import SessionCallbackAdded, SessionCallbackRemoved

from ...errors import ServerStoppedError
from ..interface import BokehSession

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("close_websockets", "exclusive_document")


def close_websockets(session: BokehSession, code: int, reason: str) -> None:
    """Close the WebSockets of a session, without waiting for the clients' close frames.

    Bokeh keeps a session's connections, and their WebSocket handlers, in private attributes.

    :param code: of the close frame; see :mod:`flask_bokeh.runtime.close_codes`.
    """
    bokehs: Any = session
    for connection in list(bokehs._subscribed_connections):
        handler: Any = connection._socket
        websocket = handler.ws_connection
        handler.close(code, reason)
        if websocket is not None:
            websocket.stream.close()


@asynccontextmanager
async def exclusive_document(session: BokehSession) -> AsyncIterator[Document]:
    """Hold the lock of a session's document in the block, so that another thread may edit it.

    For a session without WebSockets: it does not follow its document in the block.

    :raises ServerStoppedError: if the session has ended.
    """
    locked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        locked.set_result(None)
        await done.wait()

    # Bokeh holds the lock only while it awaits a function.
    holder = asyncio.ensure_future(session.with_document_locked(hold))
    try:
        await asyncio.wait([holder, locked], return_when=asyncio.FIRST_COMPLETED)
        if not locked.done():  # Bokeh calls no function for a session that has been destroyed
            await holder
            raise ServerStoppedError("The session has ended while this process waited for it.")
        with _paused_dispatch(session):
            yield session.document
    finally:
        done.set()
        await holder


@contextmanager
def _paused_dispatch(session: BokehSession) -> Iterator[None]:
    """Keep a session from following its document while another thread edits it.

    The session has no WebSocket yet, so no browser misses a patch. But the session would start
    and stop timers on the loop from that other thread, which no loop allows and Bokeh 3.9 gets
    wrong. The timers are started and stopped at the end of the block, on the loop.
    """
    document = session.document
    before = set(document.session_callbacks)
    document.callbacks.remove_on_change(session)  # type: ignore[arg-type,unused-ignore]
    try:
        yield
    finally:
        document.callbacks.on_change_dispatch_to(session)
        after = set(document.session_callbacks)
        for callback in after - before:
            document.callbacks.trigger_on_change(SessionCallbackAdded(document, callback))
        for callback in before - after:
            document.callbacks.trigger_on_change(SessionCallbackRemoved(document, callback))
