"""Apply a browser's changes to the document of its own session only.

An application may give the same arrays and lists to the data sources of all its sessions, and
Bokeh changes them in place. So each session copies a column before it is first changed.

Private methods of Bokeh are overridden here; checked on Bokeh 3.9.2 and 3.10.2. Everything here
runs with the document's lock held.
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
    """The columns of a data source; each is copied once, before it is first changed in place.

    The copies are remembered by identity, so a column that the application replaces later is
    copied again.
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
        """The copy of each column, and the copies of arrays in it, by the column's name."""
        # No __init__ makes this: existing instances get this class, see make_columns_private.
        copies: dict[str, tuple[Any, dict[int, Any]]] = vars(self).setdefault("_own_copies", {})
        return copies

    def _own(self, name: str) -> None:
        known = self._copies.get(name)
        if known is None or known[0] is not self[name]:
            column = _copy(self[name])
            dict.__setitem__(self, name, column)  # without notifications: the values are equal
            self._copies[name] = column, {}

    def _own_items(self, name: str, indices: Iterable[Any]) -> None:
        """Copy those arrays in a column, such as images, that will be changed in part."""
        column, copies = self._copies[name]
        if isinstance(column, np.ndarray) and (column.dtype != object or column.ndim != 1):
            return  # the items are part of the copy
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
    """Return a shallow copy of a column."""
    if isinstance(column, np.ndarray):
        return column.copy()
    if isinstance(column, list):
        return list(column)
    if isinstance(column, MutableSequence):
        return copy.copy(column)
    return copy.deepcopy(column)  # a pandas Series, for instance


def _is_mutable(column: Any) -> bool:
    """Return whether Bokeh changes items of this column in place; otherwise it warns."""
    if isinstance(column, np.ndarray):
        return bool(column.flags.writeable)
    return isinstance(column, MutableSequence) or not isinstance(column, Sequence)


class _Reader(Deserializer):
    """Bokeh's deserializer, without its warning about a model that BokehJS sends again."""

    def _decode_object_ref(self, obj: Any) -> Any:
        known = self._references.get(obj["id"])
        return super()._decode_object_ref(obj) if known is None else known


def make_columns_private(models: Iterable[Any]) -> None:
    """Make sure that changes of these models' data change no other session's data.

    Nothing is copied yet. The data keep their identity, because other objects own them: only
    their class is changed.
    """
    for model in models:
        if isinstance(model, ColumnDataSource) and type(model.data) is PropertyValueColumnData:
            model.data.__class__ = PrivateColumns


class BrowserPatch:
    """A ``PATCH-DOC`` message, as Bokeh's ``ServerSession.patch`` expects it."""

    def __init__(self, message: Any) -> None:
        self.header = message.header
        self._payload = message.payload

    def apply_to_document(self, doc: Document, setter: Any = None) -> None:
        """Apply the changes, as Bokeh's method of this name does."""
        invoke_with_curdoc(doc, lambda: self._apply(doc, setter))

    def _apply(self, doc: Document, setter: Any) -> None:
        """Do the work of ``Document.apply_json_patch``, event by event.

        A callback of the first event may give shared data to a source that the second one changes,
        so columns are made private before each event.
        """
        models = list(doc.models)
        make_columns_private(models)  # also for changes by callbacks
        deserializer = _Reader(models, setter=setter)
        try:
            patch = deserializer.deserialize(self._payload)
        except UnknownReferenceError as error:
            if doc.models.seen(error.id):
                return  # the model has been removed meanwhile
            raise
        for event in patch["events"]:
            make_columns_private([event.get("model")])
            DocumentPatchedEvent.handle_event(doc, event, setter)
        doc.models.flush_synced(lambda model: not deserializer.has_ref(model))
