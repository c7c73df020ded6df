"""Add up the cost of decoding one WebSocket message, part by part."""

from __future__ import annotations

import math
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import MessageLimitError

__all__ = ("MessageCosts", "MessageLimits", "too_many")

_MAX_DEPTH = 200
"""Levels of nested lists and dicts. Bokeh's decoder makes some three calls for each."""
_MAX_HASHED = 1000
"""Members of sets and keys of maps that are not strings, in one message. Python's hashes of numbers
are predictable, so a client could choose thousands of them that take quadratic time."""
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


class MessageCosts:
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
            raise too_many("max_new_models", self._limits.new_models)


def _item_size(rep: dict[str, Any]) -> int:
    dtype = rep.get("dtype")
    if not isinstance(dtype, str) or dtype not in _ITEM_SIZES:
        raise MessageLimitError("an array of a data type that Bokeh does not send")
    return _ITEM_SIZES[dtype]


def too_many(name: str, limit: int) -> MessageLimitError:
    return MessageLimitError(f"it has more than BOKEH_{name.upper()} ({limit:,}) allows")


def _too_large() -> MessageLimitError:
    return MessageLimitError("its data is much larger when it is decoded")
