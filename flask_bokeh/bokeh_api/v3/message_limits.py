"""Limits to the cost of one WebSocket message, checked before Bokeh decodes it.

The size of a message says little: Bokeh decompresses data, creates arrays of the data type that a
client names, and does work for each value, event and new model. :func:`check_text` checks the JSON
text, :func:`inspect_content` the parsed values. Neither needs the document.
"""

from __future__ import annotations

import math
import re
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import MessageLimitError

__all__ = ("Content", "MessageLimits", "check_text", "inspect_content")

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_MAX_DEPTH = 200
"""Levels of nested lists and dicts. Bokeh's decoder makes some three calls for each."""
_MAX_HASHED = 1000
"""Members of sets and keys of maps that are not strings, in one message. Python's hashes of numbers
are predictable, so a client could choose thousands of them that take quadratic time."""
_SPARE_BYTES = 2**20
"""Bytes that the decoded data may have in addition to the size on the wire."""
_MAX_INLINE = 2**16
"""Characters of compressed data in the JSON text. BokehJS sends binary frames instead."""
_CHUNK = 2**16

_ITEM_SIZES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "float32": 4,
    "float64": 8,
    "object": 0,
}
"""The data types of arrays that BokehJS and Bokeh's own serializer send."""
_ROOT_EVENTS = ("RootAdded", "RootRemoved")
_COLUMN_EVENTS = ("ColumnsStreamed", "ColumnsPatched")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimits:
    """Limits for one message."""

    size: int
    """Bytes on the wire, and bytes of an array that NumPy creates from strings."""
    values: int
    """Entries of lists and dicts, counted as commas and brackets of the JSON text."""
    events: int
    """Changes of the document."""
    new_models: int
    """Models that the document does not have yet."""


@dataclass(frozen=True, slots=True)
class Content:
    """Summary of a message that is within its limits."""

    new_models: frozenset[str]
    """IDs of the models that it adds."""
    structural: int = 0
    """Number of events after which Bokeh visits all models of the document."""
    streams: tuple[dict[str, Any], ...] = ()
    """Events that append to columns of the document."""


def check_text(text: str, limits: MessageLimits) -> None:
    """Check a frame of JSON before it is parsed.

    :raises MessageLimitError: if it has too many values.
    """
    if _values(text) <= limits.values:
        return
    # Commas and brackets in strings do not count. But strings are values or keys themselves: too
    # many of them exceed the limit anyway, and removing them would take long.
    if text.count('"') - text.count('\\"') <= 4 * limits.values and (
        _values(_STRING.sub("", text)) <= limits.values
    ):
        return
    raise _too_many("max_message_values", limits.values)


def _values(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def inspect_content(
    kind: str,
    content: Any,
    buffers: Iterable[tuple[Any, int]],
    size: int,
    limits: MessageLimits,
    is_known: Callable[[str], bool] = lambda _: False,
) -> Content:
    """Check the parsed content of a message.

    :param kind: Bokeh's type of the message.
    :param buffers: IDs and sizes of the binary frames that belong to it.
    :param size: bytes of the message on the wire.
    :param is_known: returns whether the document has the model of an ID; BokehJS may send such
        models again.
    :raises MessageLimitError: if decoding or applying it would cost more than the limits allow.
    """
    sizes: dict[str, int] = {}
    for name, length in buffers:
        if not isinstance(name, str):
            raise MessageLimitError("a buffer has an id that is no string")
        sizes[name] = length
    walk = _Walk(sizes, size + _SPARE_BYTES, limits)
    walk.is_known = is_known
    if kind != "PATCH-DOC":
        walk.visit(content)
        return Content(frozenset(walk.models))
    structural, streams = 0, []
    for event in _events(content, limits):
        structural += event["kind"] in _ROOT_EVENTS
        for name, value in event.items():
            refers = walk.visit(value)
            structural += refers and event["kind"] == "ModelChanged" and name == "new"
        if event["kind"] in _COLUMN_EVENTS:
            _check_columns(event, limits)
        if event["kind"] == "ColumnsStreamed":
            streams.append(event)
    # The column before the change must be known: see _check_stream in message_inspector.py.
    if streams and (walk.models or len(content["events"]) > 1):
        raise MessageLimitError("it streams to a column and changes more than that")
    return Content(frozenset(walk.models), structural, tuple(streams))


def _events(content: Any, limits: MessageLimits) -> list[dict[str, Any]]:
    """Return the events of a patch, if it is written as BokehJS writes it.

    Bokeh would also decode other forms, such as a map with an array of events, that hide their
    number.
    """
    if isinstance(content, dict) and content.keys() <= {"events", "references"}:
        events = content.get("events")
        if isinstance(events, list) and all(
            isinstance(event, dict) and isinstance(event.get("kind"), str) and "type" not in event
            for event in events
        ):
            if len(events) > limits.events:
                raise _too_many("max_message_events", limits.events)
            if not content.get("references"):  # only Bokeh before 3.0 has them
                return events
    raise MessageLimitError("its events are not written as BokehJS writes them")


class _Walk:
    """Adds up the costs of all parts of a message."""

    def __init__(self, buffers: Mapping[str, int], max_bytes: int, limits: MessageLimits) -> None:
        self.models: set[str] = set()
        self.is_known: Callable[[str], bool] = lambda _: False
        self._buffers = buffers
        self._bytes_left = max_bytes
        self._sizes: dict[int, int] = {}
        self._hashed = self._inline = 0
        self._limits = limits
        self._checks = {
            "typed_array": self._typed_array,
            "ndarray": self._ndarray,
            "set": self._set,
            "map": self._map,
            "object": self._object,
        }

    def visit(self, root: Any) -> bool:
        """Check a value and all nested values; return whether it refers to models."""
        refers = False
        waiting = [(root, 1)]
        while waiting:
            value, depth = waiting.pop()
            if depth > _MAX_DEPTH:
                raise MessageLimitError(f"lists and dicts are nested over {_MAX_DEPTH} deep")
            if isinstance(value, dict):
                kind = value.get("type")
                if kind == "bytes":
                    self._bytes(value)
                    continue
                check = self._checks.get(kind) if isinstance(kind, str) else None
                if check is not None:
                    check(value)
                refers = refers or "id" in value
                value = value.values()
            elif not isinstance(value, list):
                continue
            waiting += [(one, depth + 1) for one in value if isinstance(one, dict | list)]
        return refers

    def _bytes(self, rep: dict[str, Any]) -> int:
        """Add and return the bytes that Bokeh would decode from this representation, once."""
        known = self._sizes.get(id(rep))
        if known is not None:
            return known
        data = rep.get("data")
        if isinstance(data, str):
            self._inline += len(data)
            if self._inline > _MAX_INLINE:
                raise _too_large()
            count = self._inflated(data)
        else:
            name = data.get("id") if isinstance(data, dict) else None
            # Bokeh refuses a buffer that is missing, but only after it has decoded the others.
            count = self._buffers.get(name, 0) if isinstance(name, str) else 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _too_large()
        self._sizes[id(rep)] = count
        return count

    def _inflated(self, text: str) -> int:
        """Return the decompressed size, without keeping the data, and stop at the limit."""
        total = 0
        try:
            data = b64decode(text)
            while data:  # several compressed streams may follow each other
                stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
                while not stream.eof:
                    count = len(stream.decompress(data, _CHUNK))
                    data = stream.unconsumed_tail
                    total += count
                    if total > self._bytes_left:
                        raise _too_large()
                    if not count and not data and not stream.eof:
                        return total  # truncated: Bokeh refuses it
                data = stream.unused_data.lstrip(b"\0")
        except (ValueError, zlib.error):
            pass  # malformed: Bokeh refuses it
        return total

    def _typed_array(self, rep: dict[str, Any]) -> None:
        if _item_size(rep) == 0:
            raise MessageLimitError("a typed array of objects")
        array = rep.get("array")
        if not (isinstance(array, dict) and array.get("type") == "bytes"):
            raise MessageLimitError("a typed array that is not made of bytes")

    def _ndarray(self, rep: dict[str, Any]) -> None:
        item_size, array = _item_size(rep), rep.get("array")
        shape = rep.get("shape")
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise MessageLimitError("an array whose shape is no list of lengths")
        if isinstance(array, dict) and array.get("type") == "bytes":
            if item_size == 0:
                raise MessageLimitError("an array of objects that is made of bytes")
            count, rest = divmod(self._bytes(array), item_size)
            if rest:
                raise MessageLimitError("an array whose bytes do not fill its items")
        else:
            if isinstance(array, dict) and array.get("type") == "array":
                array = array.get("entries", [])
            if not isinstance(array, list):
                raise MessageLimitError("an array that is made neither of bytes nor of a list")
            count = len(array)
        # An empty array with long axes takes no memory, but Bokeh converts it to as many lists.
        if math.prod(shape) != count or math.prod(n or 1 for n in shape) > max(count, 1000):
            raise MessageLimitError("an array whose shape is not that of its data")

    def _set(self, rep: dict[str, Any]) -> None:
        entries = rep.get("entries")
        if isinstance(entries, list):
            self._hash(entries)

    def _map(self, rep: dict[str, Any]) -> None:
        entries = rep.get("entries")
        if isinstance(entries, list):
            self._hash(entry[0] for entry in entries if isinstance(entry, list) and entry)

    def _hash(self, members: Iterable[Any]) -> None:
        self._hashed += sum(not isinstance(member, str) for member in members)
        if self._hashed > _MAX_HASHED:
            raise MessageLimitError(
                f"sets and maps have over {_MAX_HASHED:,} members that are no strings"
            )

    def _object(self, rep: dict[str, Any]) -> None:
        name = rep.get("id")
        if name is None:
            return
        if not isinstance(name, str):
            raise MessageLimitError("a model has an id that is no string")
        if self.is_known(name):
            return
        self.models.add(name)
        if len(self.models) > self._limits.new_models:
            raise _too_many("max_new_models", self._limits.new_models)


def _item_size(rep: dict[str, Any]) -> int:
    dtype = rep.get("dtype")
    if not isinstance(dtype, str) or dtype not in _ITEM_SIZES:
        raise MessageLimitError("an array of a data type that Bokeh does not send")
    return _ITEM_SIZES[dtype]


def _check_columns(event: dict[str, Any], limits: MessageLimits) -> None:
    """Check an event whose values may become NumPy arrays, with room for the longest string in
    each item.
    """
    longest, count = 0, 0
    waiting: list[Any] = [event]
    while waiting:
        value = waiting.pop()
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                waiting.append(item)
                continue
            count += 1
            if isinstance(item, str):
                longest = max(longest, len(item))
    # An edit of one cell has some ten values in all, whatever was written there.
    if count > 20 and 4 * longest * count > max(limits.size, _SPARE_BYTES):
        raise MessageLimitError("columns have long strings among many values")


def _too_many(name: str, limit: int) -> MessageLimitError:
    return MessageLimitError(f"it has more than BOKEH_{name.upper()} ({limit:,}) allows")


def _too_large() -> MessageLimitError:
    return MessageLimitError("its data is much larger when it is decoded")
