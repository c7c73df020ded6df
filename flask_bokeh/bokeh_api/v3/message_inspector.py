"""Check messages from browsers, and apply patches at a bounded cost.

Methods of Bokeh are overridden here; checked on Bokeh 3.9.2 and 3.10.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from bokeh.protocol.message import Message
from bokeh.protocol.messages.patch_doc import patch_doc

from ...errors import MessageLimitError
from .message_limits import Content, MessageLimits, inspect_content
from .message_turns import Turns
from .websocket_reads import ReadLimits

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.session import ServerSession

__all__ = ("BoundedPatch", "MessageInspector")


class MessageInspector:
    """Checks the messages to the sessions of one server. For the loop's thread."""

    def __init__(self, limits: MessageLimits) -> None:
        self.limits = limits
        self.turns = Turns()
        """Turns of the visitors who send messages."""
        self.reads = ReadLimits(2 * limits.size)
        """Limits of the bytes in memory: two messages of the maximum size for each visitor."""
        self._added: WeakKeyDictionary[ServerSession, set[str]] = WeakKeyDictionary()

    def inspect(self, message: Message[Any], size: int, session: ServerSession) -> Content:
        """Check a message that has been parsed and not been applied.

        :param size: bytes of the message on the wire.
        :raises MessageLimitError: if the message exceeds a limit.
        """
        buffers = [(buffer.id, len(buffer.data)) for buffer in message.buffers]
        models = None if session.destroyed else session.document.models

        def is_known(name: str) -> bool:
            return models is not None and models.get_by_id(name) is not None  # type: ignore[arg-type]

        kind = message.msgtype
        content = inspect_content(kind, message.content, buffers, size, self.limits, is_known)
        if content.new_models and not session.destroyed:
            self._count_added(content.new_models, session)
        return content

    def _count_added(self, fresh: frozenset[str], session: ServerSession) -> None:
        """Limit the models that a browser has added to a document and not removed again.

        Bokeh visits all models whenever the document's structure changes.
        """
        models = session.document.models
        added = self._added.setdefault(session, set())
        if len(added | fresh) > self.limits.new_models:
            added.intersection_update([model.id for model in models])
        if len(added | fresh) > self.limits.new_models:
            raise MessageLimitError(
                "the browser would have added more models to the document than "
                f"BOKEH_MAX_NEW_MODELS ({self.limits.new_models:,}) allows"
            )
        added |= fresh


class BoundedPatch:
    """A patch that makes Bokeh visit all models of the document at most once.

    :param patch: the message, or the object that applies it in its place.
    """

    msgtype = patch_doc.msgtype

    def __init__(self, patch: Any, content: Content, limits: MessageLimits) -> None:
        self.header = patch.header
        self._patch = patch
        self._content = content
        self._limits = limits

    def apply_to_document(self, doc: Document, setter: Any = None) -> None:
        """Apply the changes, as Bokeh's method of this name does."""
        for event in self._content.streams:
            _check_stream(event, doc, self._limits.size)
        if self._content.structural < 2:  # not frozen, so that callbacks see the current models
            self._patch.apply_to_document(doc, setter)
            return
        error: Exception | None = None
        with doc.models.freeze():  # an exception that left the block would leave it frozen for ever
            try:
                self._patch.apply_to_document(doc, setter)
            except Exception as raised:  # noqa: BLE001
                error = raised
        # Bokeh has marked the browser's new models as synced before the document had them.
        created = self._content.new_models
        doc.models.flush_synced(lambda model: model.id not in created)
        if error is not None:
            raise error


def _check_stream(event: Any, doc: Document, max_bytes: int) -> None:
    """Check that appending to a column does not create a string array of a huge item size.

    NumPy allocates the length of the longest string for each item, so one long string that is
    appended to a million numbers, or short strings, would take gigabytes.

    :raises MessageLimitError: if the column would grow by much more than ``max_bytes``.
    """
    model, data = event.get("model"), event.get("data")
    name: Any = model.get("id") if isinstance(model, dict) else None
    source: Any = doc.models.get_by_id(name) if isinstance(name, str) else None  # type: ignore[arg-type]
    columns = getattr(source, "data", None)
    if columns is None or not isinstance(data, dict):
        return
    entries = data.get("entries", []) if data.get("type") == "map" else data.items()
    for column_name, streamed in entries:
        column = columns.get(column_name)
        width, taken = _longest_string(streamed), 0
        if isinstance(column, np.ndarray):
            if column.dtype == object:
                continue
            taken = column.nbytes
        elif isinstance(column, list) and isinstance(streamed, dict):  # it becomes an array
            lengths = [len(item) for item in column if isinstance(item, str)]
            width, taken = max([width, *lengths]), 4 * sum(lengths)
        else:
            continue
        if 4 * width * len(column) > max(max_bytes, 4 * taken):
            raise MessageLimitError("a long string would be appended to a long column")


def _longest_string(value: Any) -> int:
    """Return the length of the longest string among the values of a column."""
    longest, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            longest = max(longest, len(one))
        elif isinstance(one, dict):
            waiting += [one.get("array"), one.get("entries")]
        elif isinstance(one, list):
            waiting += one
    return longest
