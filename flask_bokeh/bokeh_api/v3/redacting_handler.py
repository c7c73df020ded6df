"""Bokeh's WebSocket handler, without the contents of messages and exceptions in logs and answers.

Bokeh logs what a browser sent, and answers with the text of the exception that it caused. Both may
be secret, so each method that does so is overridden here; ``tests/test_bokeh_compat.py`` lists
them. Checked on Bokeh 3.9.2 and 3.10.2. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import logging
import secrets
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from bokeh.protocol.message import Message
from bokeh.protocol.messages.patch_doc import patch_doc
from bokeh.server.util import check_allowlist
from bokeh.server.views.ws import WSHandler
from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError

from ...errors import MessageLimitError
from ...log_redaction import (
    describe,
    handling_a_message,
    location,
    printable,
    raised_in_application,
)
from ...runtime.close_codes import BOKEH_INTERNAL_ERROR, BOKEH_PROTOCOL_ERROR
from ..interface import ServedApplication
from .serialization import reply_to_pull

__all__ = ("RedactingHandler",)

logger = logging.getLogger("flask_bokeh")

_FAILED = "flask_bokeh.failed"
"""Type of the message that tells the page that a callback has failed."""


class RedactingHandler(WSHandler):
    """A handler that logs failures by application, user and reference number."""

    _path: str
    _user: str | None = None

    async def on_message(self, message: str | bytes) -> None:
        """Handle a frame. Errors are logged here, because Tornado would log the frame too."""
        try:
            with handling_a_message():
                complete = await self._receive(message)
            if complete is not None:
                answer = await self._handle(complete)
                if isinstance(answer, Message):
                    await self.send_message(answer)
                self._forget_message()
        except Exception:  # noqa: BLE001
            size = f" of a frame ({len(message):,} long)"
            self._close_and_log(BOKEH_INTERNAL_ERROR, f"The server could not make sense{size}.")

    async def _handle(self, message: Message[Any]) -> Message[Any] | None:
        assert self.handler is not None
        assert self.connection is not None
        handle = self.handler._handlers.get(message.msgtype)
        if handle is None:
            self._protocol_error("")
            return None
        try:
            with handling_a_message():
                if message.msgtype == "PULL-DOC-REQ":
                    return await reply_to_pull(message, self.connection, self._application)
                answer: Message[Any] | None = await handle(
                    self._prepare_to_apply(message), self.connection
                )
                return answer
        except MessageLimitError as error:
            self._refuse_costly(error)
            return None
        except Exception as error:  # noqa: BLE001  # mostly the application's
            text, notice = self._report(message, error)
        # Outside the except block: Bokeh puts the traceback of a handled exception into its answer.
        if message.msgtype == patch_doc.msgtype:  # otherwise the page shows no plot yet
            event: Any = {"kind": "MessageSent", "msg_type": _FAILED, "msg_data": notice}
            await self.send_message(patch_doc(patch_doc.create_header(), {}, {"events": [event]}))
        return self.connection.error(message, text)

    def _prepare_to_apply(self, message: Message[Any]) -> Any:
        """Return the object that Bokeh's handler gets in place of a message."""
        return message

    def _forget_message(self) -> None:
        """Free a message that has been handled."""

    def _refuse_costly(self, why: object) -> None:
        """Close the WebSocket because of a message that exceeds a limit."""

    def _report(self, message: Message[Any], error: Exception) -> tuple[str, dict[str, Any]]:
        """Log a failure. Return the text for the browser's console, and the notice for the page."""
        reference = secrets.token_hex(4)
        logger.error(
            "%s of %s failed [reference %s]\n%s",
            "A callback" if raised_in_application(error) else f"A message {message.msgtype}",
            self._label,
            reference,
            describe(error, message.content),
        )
        detail = describe(error) if self._application.debug() else None
        text = detail or f"The server has failed at this; the error is logged as {reference}."
        return text, {"reference": reference, "detail": detail}

    async def send_message(self, message: Message[Any]) -> None:
        with suppress(WebSocketClosedError):  # common: a visitor leaves a page that streams
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
        logger.error("A WebSocket of %s failed:\n%s", self._label, describe(exception[1]))

    def _internal_error(self, message: str) -> None:
        self._close_and_log(BOKEH_INTERNAL_ERROR, "The server could not handle a message.")

    def _protocol_error(self, message: str) -> None:
        self._close_and_log(BOKEH_PROTOCOL_ERROR, "A message could not be read.")

    def _close_and_log(self, code: int, reason: str) -> None:
        """Close, and log the type and the place of the exception that is being handled."""
        error = sys.exc_info()[1]
        kind = "Unexpected" if error is None else location(error)
        logger.error("Closed a WebSocket of %s. %s %s", self._label, reason, kind)
        self.close(code, reason)

    @property
    def _application(self) -> ServedApplication:
        application: Any = self.application_context.application
        return application  # type: ignore[no-any-return]

    @property
    def _label(self) -> str:
        """The application and its visitor, for log lines."""
        user = self._user
        who = "a visitor without a user" if user is None else f"user {printable(repr(user), 100)}"
        return f"{self._path} ({who}, from {self.request.remote_ip})"
