"""Find out why a document can't be sent to a browser, and send the error box instead.

A document is serialized when its browser pulls it, long after it was filled. That is too late for
an exception in the application, and BokehJS would show no reason.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bokeh.core.serialization import Serializer
from bokeh.protocol.messages.pull_doc_reply import pull_doc_reply
from bokeh.server.session import ServerSession

from ...errors import SerializationFailedError
from ..interface import ServedApplication

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.model import Model
    from bokeh.protocol.message import Message
    from bokeh.server.connection import ServerConnection

__all__ = ("check_serializable", "reply_to_pull")


async def reply_to_pull(
    message: Message[Any], connection: ServerConnection, application: ServedApplication
) -> Message[Any] | None:
    """Reply to a browser's request for its document, or let Bokeh do it (3.10 returns None).

    A document that can't be serialized is replaced by the box of a failed application.
    """
    session = connection.session
    with suppress(Exception):  # raised again below, unless the document is replaced
        return await _pull(message, connection)
    await session.with_document_locked(  # type: ignore[misc,unused-ignore]
        _replace_if_broken, session.document, application
    )
    return await _pull(message, connection)


async def _pull(message: Message[Any], connection: ServerConnection) -> Message[Any] | None:
    pulling: Awaitable[Any] = ServerSession.pull(message, connection)  # type: ignore[arg-type,assignment,unused-ignore]
    reply: Message[Any] | None = await pulling
    if reply is not None:
        reply.content_json  # noqa: B018  # cached; Bokeh 3.9 would make it only when it sends
    return reply


def _replace_if_broken(document: Document, application: ServedApplication) -> None:
    try:
        application.check(document)
    except SerializationFailedError as failure:
        application.show_failure(document, failure)
        document.callbacks.js_event_callbacks.clear()
        document.title = str(document.title)


def check_serializable(path: str, document: Document) -> None:
    """Serialize a document as for a browser. It takes 10 ms for a usual document.

    :raises SerializationFailedError: naming the model and the property that can't be sent.
    """
    try:
        reply = pull_doc_reply.create("check", document)  # type: ignore[arg-type]
        reply.content_json  # noqa: B018  # made on first access
    except Exception as error:
        raise SerializationFailedError(path, _culprit(document), error) from error


def _culprit(document: Document) -> str:
    """Name the property that can't be serialized, such as ``Div(id='p1001').tags``."""
    models = set(document.models)
    for model in models:
        for name, value in model.properties_with_values(include_defaults=False).items():
            if _fails(value, models):
                return f"{_name(model)}.{name}{_key(value, models)}"
    return "the document"


def _name(model: Model) -> str:
    name = f", name={model.name!r}" if model.name else ""
    return f"{type(model).__name__}(id={model.id!r}{name})"


def _key(value: object, models: set[Model]) -> str:
    """Name the key of a dictionary, such as the column of a data source."""
    if isinstance(value, dict):
        for key, item in value.items():
            if _fails(item, models):
                return f"[{key!r}]"
    return ""


def _fails(value: object, models: set[Model]) -> bool:
    try:
        Serializer(references=models).encode(value)
    except Exception:  # noqa: BLE001  # an object of the site may raise anything
        return True
    return False
