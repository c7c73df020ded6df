"""Changes that a browser sends, applied to the document of its own session and to nothing else.

An application may give the same arrays and lists to the sources of all its sessions, and Bokeh
changes them in place. It reaches behind Bokeh's public API like
:mod:`flask_bokeh.bokeh_api.v3.server`, and was checked on the same versions.
Everything here runs under the document's lock.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, MutableSequence, Sequence
from typing import Any

import numpy as np
from bokeh.core.property.wrappers import PropertyValueColumnData
from bokeh.core.serialization import Deserializer, UnknownReferenceError
from bokeh.document import Document
from bokeh.document.callbacks import invoke_with_curdoc
from bokeh.document.events import DocumentPatchedEvent
from bokeh.models import ColumnDataSource

__all__ = ("BrowserPatch", "PrivateColumns", "make_columns_private")


class PrivateColumns(PropertyValueColumnData):
    """The columns of a source; each is copied once, before it is first changed in place.

    The copies are remembered by identity, so that a column that the application replaces
    afterwards is copied again.
    """

    def update(self, *args: Any, **kwargs: Any) -> None:
        super().update(*args, **kwargs)  # type: ignore[no-untyped-call,unused-ignore]
        self._forget_replaced()

    def _stream(self, doc: Any, source: Any, new_data: Any, *args: Any, **kwargs: Any) -> None:
        for name in new_data:
            if isinstance(self[name], MutableSequence):  # Bokeh replaces columns of other types
                self._own(name)
        super()._stream(doc, source, new_data, *args, **kwargs)
        self._forget_replaced()

    def _patch(self, doc: Any, source: Any, patches: Any, *args: Any, **kwargs: Any) -> None:
        for name, patch in patches.items():
            if _is_mutable(self[name]):
                self._own(name)
                self._own_items(name, [index for index, _ in patch])
        super()._patch(doc, source, patches, *args, **kwargs)

    @property
    def _copies(self) -> dict[str, tuple[Any, dict[int, Any]]]:
        """Our copy of a column, and those of arrays in it, by the column's name."""
        # An instance gets this class when it exists already: see make_columns_private.
        copies: dict[str, tuple[Any, dict[int, Any]]] = vars(self).setdefault("_own_copies", {})
        return copies

    def _own(self, name: str) -> None:
        known = self._copies.get(name)
        if known is None or known[0] is not self[name]:
            column = _copy(self[name])
            dict.__setitem__(self, name, column)  # past the notifications: nothing has changed
            self._copies[name] = column, {}

    def _own_items(self, name: str, indices: Iterable[Any]) -> None:
        """Copy the arrays in a column, such as images, of which a part is going to be changed."""
        column, copies = self._copies[name]
        if isinstance(column, np.ndarray) and (column.dtype != object or column.ndim != 1):
            return  # its items are parts of our copy
        for index in indices:
            if isinstance(index, int | slice):
                continue
            item = column[index[0]]
            if not isinstance(item, np.ndarray) or not item.flags.writeable:
                continue
            if copies.get(index[0]) is not item:
                column[index[0]] = copies[index[0]] = item.copy()

    def _forget_replaced(self) -> None:
        for name in list(self._copies):
            if self._copies[name][0] is not self.get(name):
                del self._copies[name]


def _copy(column: Any) -> Any:
    """Return a copy of a column: of the column itself, not of the values in it."""
    if isinstance(column, np.ndarray):
        return column.copy()
    if isinstance(column, list):
        return list(column)
    if isinstance(column, MutableSequence):
        return copy.copy(column)
    return copy.deepcopy(column)  # a pandas Series, for instance


def _is_mutable(column: Any) -> bool:
    """Whether Bokeh changes items of this column; it warns where it does not."""
    if isinstance(column, np.ndarray):
        return bool(column.flags.writeable)
    return isinstance(column, MutableSequence) or not isinstance(column, Sequence)


class _Reader(Deserializer):
    """Bokeh's own, without its warning of what BokehJS does when it reconnects."""

    def _decode_object_ref(self, obj: Any) -> Any:
        known = self._references.get(obj["id"])
        return super()._decode_object_ref(obj) if known is None else known


def make_columns_private(models: Iterable[Any]) -> None:
    """See to it that what happens to the data of these models happens to no other session.

    It copies nothing yet. A new object would have to take the old one's place with all its
    owners, so the object itself changes its class.
    """
    for model in models:
        if isinstance(model, ColumnDataSource) and type(model.data) is PropertyValueColumnData:
            model.data.__class__ = PrivateColumns


class BrowserPatch:
    """A message ``PATCH-DOC`` as Bokeh's ``ServerSession.patch`` takes it."""

    def __init__(self, message: Any) -> None:
        self.header = message.header
        self._payload = message.payload

    def apply_to_document(self, doc: Document, setter: Any = None) -> None:
        """Apply the changes, as Bokeh's own method of this name does."""
        invoke_with_curdoc(doc, lambda: self._apply(doc, setter))

    def _apply(self, doc: Document, setter: Any) -> None:
        """Do what ``Document.apply_json_patch`` does.

        That gives no opportunity between two events of one message, where a callback may have
        given shared data to a source that the second event changes.
        """
        models = list(doc.models)
        make_columns_private(models)  # also for what callbacks do to them
        deserializer = _Reader(models, setter=setter)
        try:
            patch = deserializer.deserialize(self._payload)
        except UnknownReferenceError as error:
            if doc.models.seen(error.id):
                return  # of a model that has been removed meanwhile
            raise
        for event in patch["events"]:
            make_columns_private([event.get("model")])
            DocumentPatchedEvent.handle_event(doc, event, setter)
        doc.models.flush_synced(lambda model: not deserializer.has_ref(model))
