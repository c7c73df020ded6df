"""The WebSockets of sessions: Bokeh's own handler, for those who may have one, within limits.

It reaches behind Bokeh's public API like
:mod:`flask_bokeh.bokeh_api.v3.server`, and was checked on the same versions.
Everything here runs on the thread of the server's IOLoop.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bokeh.protocol.message import Message
from bokeh.protocol.messages.patch_doc import patch_doc
from bokeh.protocol.receiver import Receiver
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import check_allowlist
from bokeh.server.views.ws import WSHandler
from bokeh.util.token import get_token_payload
from tornado.web import ErrorHandler, HTTPError
from tornado.websocket import WebSocketClosedError

from ...errors import HandoffError, LimitError, MessageLimitError, SessionEndedError, TokenError
from ...hijack.stream import TOO_COSTLY
from ...log_text import describe, handling_a_message, location, printable, raised_in
from ...runtime.executor import WORK_OWNER, WorkOwner
from ...security.limits import Limits
from ...security.principal import Principal
from ...security.tokens import Token, TokenIssuer
from .message_inspector import BoundedPatch, MessageInspector
from .message_limits import Content, check_text
from .patches import BrowserPatch
from .serialization import reply_to_pull
from .websocket_reads import BoundedWebSocket, SocketReads

__all__ = ("open_sockets_only",)

logger = logging.getLogger("flask_bokeh")

_FAILED = "flask_bokeh.failed"
"""What page.js calls the message that a callback has failed."""
_QUICK = 10_000
"""Bytes of a frame that is quickly parsed, and of a message that is quickly applied."""
_FRAME = 256
"""Bytes that a frame of a message takes at least, as Bokeh keeps it."""


def open_sockets_only(
    tornado: BokehTornado, limits: Limits, tokens: TokenIssuer, inspector: MessageInspector
) -> None:
    """The server has a WebSocket for each application, and nothing that asks no token: pages,
    scripts and files come from Flask, which asks the guards.

    Bokeh takes the path of an application for a regular expression; here it is one no more.
    """
    judge = partial(_judge, limits, tokens)
    paths = {id(context): path for path, context in tornado.applications.items()}
    rules: list[Any] = []
    for rule in tornado.wildcard_router.rules:
        if isinstance(rule.target, type) and issubclass(rule.target, WSHandler):
            path = paths[id(rule.target_kwargs["application_context"])]
            keywords = {**rule.target_kwargs, "judge": judge, "path": path, "inspector": inspector}
            rules.append((re.escape(path.rstrip("/")) + "/ws", _SessionSocket, keywords))
    rules.append((".*", ErrorHandler, {"status_code": 404}))
    tornado.add_handlers(".*", rules)


def _judge(
    limits: Limits, tokens: TokenIssuer, text: str, address: str | None
) -> Token | HandoffError:
    """The token that a text stands for, or the reason if it opens no session from an address.

    Clients of the server's own port get their reservation here; all others have one already. Bokeh
    would also refuse a bad token, but only after its 101 response, and with a traceback in the log.
    """
    try:
        token = tokens.read(text)
        if get_token_payload(text)["session_expiry"] <= time.time():
            return HandoffError("The session token has expired.", 403)
        limits.reserve(token, Principal(address=address))
    except TokenError as error:
        return HandoffError(str(error), 403)
    except SessionEndedError as error:
        return HandoffError(str(error), 410)
    except LimitError as error:
        return HandoffError(str(error), 503, public=str(error))
    return token


class _SessionSocket(WSHandler):
    """Bokeh's own handler of a WebSocket, for those who may have one, with a limit to messages."""

    def initialize(  # type: ignore[override]
        self,
        judge: Callable[..., Token | HandoffError],
        path: str,
        inspector: MessageInspector,
        **bokehs: Any,
    ) -> None:
        super().initialize(**bokehs)  # type: ignore[no-untyped-call,unused-ignore]
        self._judge = judge
        self._path = path
        self._inspector = inspector
        self._size = 0
        self._content = Content(frozenset())
        self._user: str | None = None
        self._visitor = ""
        self._reads = SocketReads(inspector.reads, "")

    async def prepare(self) -> None:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2]
        judged = self._judge(offered.strip(), self.request.remote_ip)
        if isinstance(judged, HandoffError):
            logger.warning(
                "Refused a WebSocket of %s from %s: %s", self._path, self.request.remote_ip, judged
            )
            self.set_status(judged.status)
            self.finish(judged.public)
            return
        self._user = judged.visit.user
        self._visitor = judged.subject or judged.visit.session_id
        self._reads = SocketReads(self._inspector.reads, self._visitor)
        await super().prepare()  # type: ignore[no-untyped-call,unused-ignore]

    def get_websocket_protocol(self) -> Any:
        protocol: Any = super().get_websocket_protocol()
        if protocol is None:  # of another version: Tornado refuses it
            return None
        return BoundedWebSocket(protocol, self._reads, self._refuse_costly)

    def open(self, *args: str, **kwargs: str) -> Any:
        # Bokeh sends a message as three small frames: on the server's own port Nagle's algorithm
        # and delayed ACKs would hold them back by 40 ms.
        self.set_nodelay(True)
        return super().open(*args, **kwargs)

    async def _async_open(self, token: str) -> None:
        WORK_OWNER.set(WorkOwner(self._visitor))  # of this task, and of those that it starts
        await self._inspector.turns.take(self._visitor)
        try:
            await super()._async_open(token)
        except Exception as error:  # noqa: BLE001  # Tornado would log it with the token
            stopping = getattr(self.application, "_stopping", False)  # Bokeh 3.10 has it
            if stopping and isinstance(error, RuntimeError):
                self.close(1001)  # GOING AWAY
                return
            logger.error("A session of %s was not opened:\n%s", self._whose, describe(error))
            self.close(10000, "The session could not be opened.")

    def on_close(self) -> None:
        self._reads.close()
        super().on_close()  # type: ignore[no-untyped-call,unused-ignore]

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        # A frame that closes has no room for more (RFC 6455, section 5.5), and Tornado raises.
        short = None if reason is None else reason.encode()[:120].decode(errors="ignore")
        super().close(code, short)
        self._forget_message()

    async def _receive(self, fragment: str | bytes) -> Message[Any] | None:
        """Bokeh collects as many frames as a client says that its message has; Tornado's limit is
        one for each of them.
        """
        if self.ws_connection is None:  # it has been closed, and its client goes on
            self._reads.handled()
            return None
        self._size += len(fragment) + _FRAME
        if self._size > self.application.settings["websocket_max_message_size"]:
            self.close(1009)
            return None
        try:
            self._reads.hold(_FRAME)
            if len(fragment) > _QUICK:
                await self._inspector.turns.take(self._visitor)
            if isinstance(fragment, str):
                check_text(fragment, self._inspector.limits)
            message = await super()._receive(fragment)
            if message is None:
                return None
            size, self._size = self._size, 0
            assert self.connection is not None
            self._content = self._inspector.inspect(message, size, self.connection.session)
        except (MessageLimitError, RecursionError) as error:
            # A variable for the error would keep the message in memory, by its traceback.
            deep = isinstance(error, RecursionError)
            self._refuse_costly("it is nested too deep" if deep else str(error))
            return None
        WORK_OWNER.set(WorkOwner(self._visitor, size > _QUICK or bool(self._content.new_models)))
        await self._inspector.turns.take(self._visitor)
        return message

    def _forget_message(self) -> None:
        """Free what was received: Bokeh's receiver would keep it until the next message comes."""
        if self.receiver is not None and self.connection is not None:
            vars(self.receiver).clear()  # it refers to itself
            self.receiver = Receiver(self.connection.protocol)
        self._content = Content(frozenset())
        self._reads.handled()

    def _refuse_costly(self, why: object) -> None:
        logger.warning(
            "Closed a WebSocket of %s: its client sent too costly a message: %s.", self._whose, why
        )
        self.close(1009, TOO_COSTLY)

    # From here on are the methods of Bokeh's that log what a browser sent and answer with the text
    # of an exception, each without that.

    async def on_message(self, message: str | bytes) -> None:
        try:
            with handling_a_message():
                complete = await self._receive(message)
            if complete is not None:
                answer = await self._handle(complete)
                if isinstance(answer, Message):
                    await self.send_message(answer)
                self._forget_message()
        except Exception:  # noqa: BLE001  # Tornado would only log it
            size = f" of a frame ({len(message):,} long)"
            self._give_up(10000, f"The server could not make sense{size}.")

    async def _handle(self, message: Message[Any]) -> Message[Any] | None:
        assert self.handler is not None
        assert self.connection is not None
        handle = self.handler._handlers.get(message.msgtype)
        if handle is None:
            self._protocol_error("")
            return None
        application: Any = self.application_context.application
        try:
            with handling_a_message():
                if message.msgtype == "PULL-DOC-REQ":
                    return await reply_to_pull(message, self.connection, application)
                given: Any = message
                if message.msgtype == BoundedPatch.msgtype:
                    patch = BrowserPatch(message)
                    given = BoundedPatch(patch, self._content, self._inspector.limits)
                answer: Message[Any] | None = await handle(given, self.connection)
                return answer
        except MessageLimitError as error:
            self._refuse_costly(error)
            return None
        except Exception as error:  # noqa: BLE001  # the application's, mostly
            text, notice = self._report(message, error)
        # Outside of the block: Bokeh puts the traceback of what is handled into its answer.
        if message.msgtype == BoundedPatch.msgtype:  # else nothing has been shown yet
            event: Any = {"kind": "MessageSent", "msg_type": _FAILED, "msg_data": notice}
            await self.send_message(patch_doc(patch_doc.create_header(), {}, {"events": [event]}))
        return self.connection.error(message, text)

    def _report(self, message: Message[Any], error: Exception) -> tuple[str, dict[str, Any]]:
        """Log a failure. Return the text for the browser's console, and what the page shows."""
        reference = secrets.token_hex(4)
        logger.error(
            "%s of %s failed [reference %s]\n%s",
            "A callback" if raised_in(error) else f"A message {message.msgtype}",
            self._whose,
            reference,
            describe(error, message.content),
        )
        application: Any = self.application_context.application
        detail = describe(error) if application.debug() else None
        text = detail or f"The server has failed at this; the error is logged as {reference}."
        return text, {"reference": reference, "detail": detail}

    async def send_message(self, message: Message[Any]) -> None:
        with suppress(WebSocketClosedError):  # each visitor who leaves a page that streams
            await message.send(self)  # type: ignore[arg-type,unused-ignore]

    def check_origin(self, origin: str) -> bool:
        tornado: Any = self.application
        if check_allowlist(urlsplit(origin).netloc.lower(), list(tornado.websocket_origins)):
            return True
        logger.warning(
            "Refused a WebSocket of %s on Bokeh's own port: the Origin %s is not allowed "
            "(see BOKEH_ALLOW_WS_ORIGIN).",
            self._path,
            printable(repr(origin), 200),
        )
        return False

    def log_exception(self, *exception: Any) -> None:
        if isinstance(exception[1], HTTPError):
            super().log_exception(*exception)
            return
        logger.error("A WebSocket of %s failed:\n%s", self._whose, describe(exception[1]))

    def _internal_error(self, message: str) -> None:
        self._give_up(10000, "The server could not handle a message.")

    def _protocol_error(self, message: str) -> None:
        self._give_up(10001, "A message could not be read.")

    def _give_up(self, code: int, reason: str) -> None:
        """Close, and log the kind of exception that is being handled, and where it was raised."""
        error = sys.exc_info()[1]
        kind = "Unexpected" if error is None else location(error)
        logger.error("Closed a WebSocket of %s. %s %s", self._whose, reason, kind)
        self.close(code, reason)

    @property
    def _whose(self) -> str:
        """The application and its visitor, for the log."""
        user = self._user
        who = "nobody in particular" if user is None else f"user {printable(repr(user), 100)}"
        return f"{self._path} ({who}, from {self.request.remote_ip})"
