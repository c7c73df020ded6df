"""Patches from browsers: applied so that each costs one look at the document's models, at most.

The methods that are overridden here are Bokeh's own, checked on Bokeh 3.9.2 and 3.10.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from bokeh.protocol.message import Message
from bokeh.protocol.messages.patch_doc import patch_doc

from ...errors import MessageLimitError
from .message_limits import Content, MessageLimits, inspect_content
from .turns import Turns
from .websocket_reads import ReadLimits

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.session import ServerSession

__all__ = ("BoundedPatch", "MessageInspector")


class MessageInspector:
    """Checks what browsers send to the sessions of one server. Only on the loop's thread."""

    def __init__(self, limits: MessageLimits) -> None:
        self.limits = limits
        self.turns = Turns()
        """Of those who send something."""
        self.reads = ReadLimits(2 * limits.size)
        """Of what they send: two messages as large as may be."""
        self._added: WeakKeyDictionary[ServerSession, set[str]] = WeakKeyDictionary()

    def inspect(self, message: Message[Any], size: int, session: ServerSession) -> Content:
        """Check a message that has been parsed, and nothing more.

        :param size: bytes of the message on the wire.
        :raises MessageLimitError: if it would cost more than it may.
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
        """Bound the models that a browser has added to a document and not removed again.

        Bokeh looks at all of them when the document's structure changes.
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
    """A patch after which Bokeh looks at all models of the document once, whatever is in it."""

    msgtype = patch_doc.msgtype

    def __init__(self, patch: Any, content: Content, limits: MessageLimits) -> None:
        """:param patch: the message, or what applies it in its place."""
        self.header = patch.header
        self._patch = patch
        self._content = content
        self._limits = limits

    def apply_to_document(self, doc: Document, setter: Any = None) -> None:
        """Apply the changes, as Bokeh's own method of this name does."""
        for event in self._content.streams:
            _check_stream(event, doc, self._limits.size)
        if self._content.structural < 2:  # callbacks see the document as it is
            self._patch.apply_to_document(doc, setter)
            return
        error: Exception | None = None
        with doc.models.freeze():  # it would stay frozen for ever if an exception left the block
            try:
                self._patch.apply_to_document(doc, setter)
            except Exception as raised:  # noqa: BLE001
                error = raised
        # Bokeh has marked the browser's models as known to it while they were not yet there.
        created = self._content.new_models
        doc.models.flush_synced(lambda model: model.id not in created)
        if error is not None:
            raise error


def _check_stream(event: Any, doc: Document, max_bytes: int) -> None:
    """Check that appending to a column does not make a string array of a huge item size.

    NumPy makes room for the longest string in each item, so one long string that is appended to
    a million numbers, or to short strings, would take gigabytes.

    :raises MessageLimitError: if the column would grow by much more than ``max_bytes`` that way.
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
