"""Limits to the cost of one WebSocket message, checked before Bokeh decodes it.

The size of a message says little: Bokeh decompresses data, creates arrays of the data type that a
client names, and does work for each value, event and new model. :func:`check_text` checks the JSON
text, :func:`inspect_content` the parsed values. Neither needs the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import MessageLimitError
from .message_costs import MessageCosts, MessageLimits, too_many

__all__ = ("Content", "MessageLimits", "check_text", "inspect_content")

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SPARE_BYTES = 2**20
"""Bytes that the decoded data may have in addition to the size on the wire."""
_ROOT_EVENTS = ("RootAdded", "RootRemoved")
_COLUMN_EVENTS = ("ColumnsStreamed", "ColumnsPatched")


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
    raise too_many("max_message_values", limits.values)


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
    costs = MessageCosts(sizes, size + _SPARE_BYTES, limits)
    costs.is_known = is_known
    if kind != "PATCH-DOC":
        costs.visit(content)
        return Content(frozenset(costs.models))
    structural, streams = 0, []
    for event in _events(content, limits):
        structural += event["kind"] in _ROOT_EVENTS
        for name, value in event.items():
            refers = costs.visit(value)
            structural += refers and event["kind"] == "ModelChanged" and name == "new"
        if event["kind"] in _COLUMN_EVENTS:
            _check_columns(event, limits)
        if event["kind"] == "ColumnsStreamed":
            streams.append(event)
    # The column before the change must be known: see _check_stream in message_inspector.py.
    if streams and (costs.models or len(content["events"]) > 1):
        raise MessageLimitError("it streams to a column and changes more than that")
    return Content(frozenset(costs.models), structural, tuple(streams))


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
                raise too_many("max_message_events", limits.events)
            if not content.get("references"):  # only Bokeh before 3.0 has them
                return events
    raise MessageLimitError("its events are not written as BokehJS writes them")


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
