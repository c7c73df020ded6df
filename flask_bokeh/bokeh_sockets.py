"""The WebSockets of sessions: Bokeh's own handler, for those who may have one, within limits.

It reaches behind Bokeh's public API like :mod:`flask_bokeh.bokeh_compat`, and was checked on the
same versions. Everything here runs on the thread of the server's IOLoop.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from bokeh.protocol.message import Message
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from bokeh.util.token import get_session_id, get_token_payload
from tornado.web import ErrorHandler

from .bridge.streams import TOO_COSTLY
from .errors import LimitError, MessageLimitError, SessionEndedError, TokenError
from .limits import Limits
from .message_limits import Content, check_text
from .native import WORK_OWNER, WorkOwner
from .patching import BoundedPatch, MessageInspector
from .tokens import TokenIssuer
from .visits import OURS, Asker, read_payload

__all__ = ("open_sockets_only",)

logger = logging.getLogger("flask_bokeh")

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
            keywords = {**rule.target_kwargs, "judge": judge, "inspector": inspector}
            rules.append((re.escape(path.rstrip("/")) + "/ws", _SessionSocket, keywords))
    rules.append((".*", ErrorHandler, {"status_code": 404}))
    tornado.add_handlers(".*", rules)
    log = logging.getLogger("bokeh.server.views.ws")
    log.addFilter(_tells_news)
    log.addFilter(_tell_little)


Refusal = tuple[int, str]


def _judge(limits: Limits, tokens: TokenIssuer, text: str, address: str | None) -> Refusal | None:
    """Status and reason if a token, from an address, opens no session; None if it does.

    Who comes by the server's own port takes a seat here; others have one. Bokeh would refuse what
    is no good token, too, but only after its 101, and with a traceback in the log.
    """
    try:
        token = tokens.read(text)
        if get_token_payload(text)["session_expiry"] <= time.time():
            return 403, "The session token has expired: reload the page."
        limits.open(token, Asker(address=address))
    except TokenError as error:
        return 403, str(error)
    except SessionEndedError as error:
        return 410, str(error)
    except LimitError as error:
        return 503, str(error)
    return None


class _SessionSocket(WSHandler):
    """Bokeh's own handler of a WebSocket, for those who may have one, with a limit to messages."""

    def initialize(  # type: ignore[override]
        self, judge: Callable[..., Refusal | None], inspector: MessageInspector, **bokehs: Any
    ) -> None:
        super().initialize(**bokehs)  # type: ignore[no-untyped-call,unused-ignore]
        self._judge = judge
        self._inspector = inspector
        self._size = 0
        self._content = Content(frozenset())
        self._visitor = ""

    async def prepare(self) -> None:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2]
        refusal = self._judge(offered.strip(), self.request.remote_ip)
        if refusal is not None:
            status, reason = refusal
            self.set_status(status)
            self.finish(reason)
            return
        await super().prepare()  # type: ignore[no-untyped-call,unused-ignore]

    def open(self, *args: str, **kwargs: str) -> Any:
        # Bokeh sends a message as three small frames: on the server's own port Nagle's algorithm
        # and delayed ACKs would hold them back by 40 ms.
        self.set_nodelay(True)
        return super().open(*args, **kwargs)

    async def _async_open(self, token: str) -> None:
        payload = get_token_payload(token)
        visitor = read_payload("", "", payload).bound if OURS in payload else None
        self._visitor = visitor or str(get_session_id(token))
        WORK_OWNER.set(WorkOwner(self._visitor))  # of this task, and of those that it starts
        await self._inspector.turns.take(self._visitor)
        try:
            await super()._async_open(token)
        except RuntimeError:
            if not getattr(self.application, "_stopping", False):  # Bokeh 3.10 has it
                raise
            self.close(1001)  # GOING AWAY

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        # A frame that closes has no room for more (RFC 6455, section 5.5), and Tornado raises.
        short = None if reason is None else reason.encode()[:120].decode(errors="ignore")
        super().close(code, short)

    async def _receive(self, fragment: str | bytes) -> Message[Any] | None:
        """Bokeh collects as many frames as a client says that its message has; Tornado's limit is
        one for each of them.
        """
        if self.ws_connection is None:  # it has been closed, and its client goes on
            return None
        self._size += len(fragment) + _FRAME
        if self._size > self.application.settings["websocket_max_message_size"]:
            self.close(1009)
            return None
        try:
            if len(fragment) > _QUICK:
                await self._inspector.turns.take(self._visitor, len(fragment))
            if isinstance(fragment, str):
                check_text(fragment, self._inspector.limits)
            message = await super()._receive(fragment)
            if message is None:
                return None
            size, self._size = self._size, 0
            assert self.connection is not None
            self._content = self._inspector.inspect(message, size, self.connection.session)
        except (MessageLimitError, RecursionError) as error:
            why = "it is nested too deep" if isinstance(error, RecursionError) else error
            logger.warning("Closed a WebSocket whose client sent too costly a message: %s.", why)
            self.close(1009, TOO_COSTLY)
            return None
        WORK_OWNER.set(WorkOwner(self._visitor, size > _QUICK or bool(self._content.new_models)))
        await self._inspector.turns.take(self._visitor)
        return message

    async def _handle(self, message: Message[Any]) -> Any | None:
        given: Any = message
        if message.msgtype == BoundedPatch.msgtype:
            given = BoundedPatch(message, self._content, self._inspector.limits)
        return await super()._handle(given)


def _tells_news(record: logging.LogRecord) -> bool:
    """Keep out a warning of Bokeh's for each visitor who leaves a page that streams."""
    return record.msg != "Failed sending message as connection was closed"


def _tell_little(record: logging.LogRecord) -> bool:
    """Bokeh logs what it does not understand, whole: as many megabytes as the client likes."""
    if isinstance(record.args, tuple):
        record.args = tuple(_short(value) for value in record.args)
    if record.exc_info:
        lines = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = lines if len(lines) <= 10_000 else f"{lines[:5000]}...{lines[-1000:]}"
    return True


def _short(value: object) -> object:
    whole = value if isinstance(value, str) else repr(value)
    return value if len(whole) <= 200 else _Verbatim(f"{whole[:200]}... ({len(whole):,} in all)")


class _Verbatim(str):
    __slots__ = ()
    __repr__ = str.__str__
