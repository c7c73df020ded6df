"""The WebSockets of sessions: Bokeh's own handler, for authorized clients and within limits.

Private methods of Bokeh are overridden here; checked on Bokeh 3.9.2 and 3.10.2. Everything here
runs on the loop's thread.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from bokeh.protocol.message import Message
from bokeh.protocol.receiver import Receiver
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from tornado.web import ErrorHandler

from ...errors import MessageLimitError, RefusedError
from ...log_redaction import describe
from ...runtime.close_codes import (
    BOKEH_INTERNAL_ERROR,
    GOING_AWAY,
    MESSAGE_TOO_BIG,
    TOO_COSTLY,
)
from ...runtime.executor import WORK_OWNER, WorkOwner
from ..interface import Authorize
from .message_inspector import BoundedPatch, MessageInspector
from .message_limits import Content, check_text
from .patches import BrowserPatch
from .redacting_handler import RedactingHandler
from .websocket_reads import BoundedWebSocket, SocketReads

__all__ = ("serve_websockets_only",)

logger = logging.getLogger("flask_bokeh")

_QUICK = 10_000
"""Bytes of a frame that is parsed quickly, and of a message that is applied quickly."""
_FRAME = 256
"""Bytes that Bokeh needs for each frame that it keeps, however short."""


def serve_websockets_only(
    tornado: BokehTornado, authorize: Authorize, inspector: MessageInspector
) -> None:
    """Serve one WebSocket for each application, and 404 for everything else.

    Pages, scripts and files would be served without a token; they come from Flask, which runs the
    guards. Bokeh uses the path of an application as a regular expression; here it is escaped.
    """
    paths = {id(context): path for path, context in tornado.applications.items()}
    rules: list[Any] = []
    for rule in tornado.wildcard_router.rules:
        if isinstance(rule.target, type) and issubclass(rule.target, WSHandler):
            path = paths[id(rule.target_kwargs["application_context"])]
            own = {"authorize": authorize, "path": path, "inspector": inspector}
            pattern = re.escape(path.rstrip("/")) + "/ws"
            rules.append((pattern, _SessionSocket, {**rule.target_kwargs, **own}))
    rules.append((".*", ErrorHandler, {"status_code": 404}))
    tornado.add_handlers(".*", rules)


class _SessionSocket(RedactingHandler):
    """The WebSocket of one page: authorized, limited, and taking turns with other visitors."""

    def initialize(  # type: ignore[override]
        self, authorize: Authorize, path: str, inspector: MessageInspector, **bokehs: Any
    ) -> None:
        super().initialize(**bokehs)  # type: ignore[no-untyped-call,unused-ignore]
        self._authorize = authorize
        self._path = path
        self._inspector = inspector
        self._size = 0
        self._content = Content(frozenset())
        self._subject = ""
        self._reads = SocketReads(inspector.reads, "")

    # --- opening ----------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Authorize the upgrade request. A refusal is sent as an HTTP response.

        Bokeh would also refuse a bad token, but only after its 101 response, and it would log a
        traceback.
        """
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2]
        try:
            access = self._authorize(offered.strip(), self.request.remote_ip)
        except RefusedError as error:
            logger.warning(
                "Refused a WebSocket of %s from %s: %s", self._path, self.request.remote_ip, error
            )
            self.set_status(error.status)
            self.finish(error.public)
            return
        self._user, self._subject = access.user, access.subject
        self._reads = SocketReads(self._inspector.reads, self._subject)
        await super().prepare()  # type: ignore[no-untyped-call,unused-ignore]

    def get_websocket_protocol(self) -> Any:
        protocol: Any = super().get_websocket_protocol()
        if protocol is None:  # an unknown version, which Tornado refuses
            return None
        return BoundedWebSocket(protocol, self._reads, self._refuse_costly)

    def open(self, *args: str, **kwargs: str) -> Any:
        # Bokeh sends a message as three small frames: on the server's own port Nagle's algorithm
        # and delayed ACKs would hold them back by 40 ms.
        self.set_nodelay(True)
        return super().open(*args, **kwargs)

    async def _async_open(self, token: str) -> None:
        # For this task and for the tasks that it starts.
        WORK_OWNER.set(WorkOwner(self._subject))
        await self._inspector.turns.take(self._subject)
        try:
            await super()._async_open(token)
        except Exception as error:  # noqa: BLE001  # Tornado would log it with the token
            stopping = getattr(self.application, "_stopping", False)  # Bokeh 3.10 has it
            if stopping and isinstance(error, RuntimeError):
                self.close(GOING_AWAY)
                return
            logger.error("A session of %s was not opened:\n%s", self._label, describe(error))
            self.close(BOKEH_INTERNAL_ERROR, "The session could not be opened.")

    # --- messages ---------------------------------------------------------------------------

    async def _receive(self, fragment: str | bytes) -> Message[Any] | None:
        """Add a frame; return the message when it is complete.

        Tornado limits the size of each frame only, and Bokeh collects as many frames as the client
        says that its message has.
        """
        if self.ws_connection is None:  # closed by us, but the client goes on sending
            self._reads.handled()
            return None
        self._size += len(fragment) + _FRAME
        if self._size > self.application.settings["websocket_max_message_size"]:
            self.close(MESSAGE_TOO_BIG)
            return None
        try:
            self._reads.hold(_FRAME)
            if len(fragment) > _QUICK:
                await self._inspector.turns.take(self._subject)
            if isinstance(fragment, str):
                check_text(fragment, self._inspector.limits)
            message = await super()._receive(fragment)
            if message is None:
                return None
            size, self._size = self._size, 0
            assert self.connection is not None
            self._content = self._inspector.inspect(message, size, self.connection.session)
        except (MessageLimitError, RecursionError) as error:
            # Keep no reference to the error: its traceback would keep the message in memory.
            deep = isinstance(error, RecursionError)
            self._refuse_costly("it is nested too deep" if deep else str(error))
            return None
        WORK_OWNER.set(WorkOwner(self._subject, size > _QUICK or bool(self._content.new_models)))
        await self._inspector.turns.take(self._subject)
        return message

    def _prepare_to_apply(self, message: Message[Any]) -> Any:
        if message.msgtype != BoundedPatch.msgtype:
            return message
        return BoundedPatch(BrowserPatch(message), self._content, self._inspector.limits)

    def _forget_message(self) -> None:
        """Free the message, which Bokeh's receiver would keep until the next one arrives."""
        if self.receiver is not None and self.connection is not None:
            vars(self.receiver).clear()  # it refers to itself
            self.receiver = Receiver(self.connection.protocol)
        self._content = Content(frozenset())
        self._reads.handled()

    def _refuse_costly(self, why: object) -> None:
        logger.warning(
            "Closed a WebSocket of %s: its client sent too costly a message: %s.", self._label, why
        )
        self.close(MESSAGE_TOO_BIG, TOO_COSTLY)

    # --- closing ----------------------------------------------------------------------------

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        # A close frame has no room for more (RFC 6455, section 5.5), and Tornado raises.
        short = None if reason is None else reason.encode()[:120].decode(errors="ignore")
        super().close(code, short)
        self._forget_message()

    def on_close(self) -> None:
        self._reads.close()
        super().on_close()  # type: ignore[no-untyped-call,unused-ignore]
