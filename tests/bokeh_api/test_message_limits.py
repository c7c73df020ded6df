"""Limits of one message, its text and its content, without a server."""

from __future__ import annotations

import array
import base64
import gzip
import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from bokeh.core.serialization import Deserializer, Serialized, Serializer
from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Slider
from bokeh.plotting import figure
from bokeh.protocol import Protocol
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_bokeh.bokeh_api.v3.message_limits import (
    Content,
    MessageLimits,
    check_text,
    inspect_content,
)
from flask_bokeh.errors import MessageLimitError

from ..support.messages import changed, ndarray

LIMITS = MessageLimits(size=20 * 2**20, values=250_000, events=100, new_models=100)


SMALL = MessageLimits(size=2**20, values=20, events=3, new_models=3)


def inspect(value: Any, *, buffers: Any = (), size: int = 1000) -> Content:
    """Inspect a patch that sets a property to a value."""
    event = changed("m", value, "data")
    return inspect_content("PATCH-DOC", {"events": [event]}, buffers, size, LIMITS)


def refused(value: Any, **keywords: Any) -> str:
    """Return the reason for refusing a value, and check that this takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(MessageLimitError) as caught:
            inspect(value, **keywords)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    return str(caught.value)


def inline(data: bytes) -> dict[str, Any]:
    return {"type": "bytes", "data": base64.b64encode(data).decode()}


BOMB = gzip.compress(bytes(50_000_000), 1)


def test_decompression_bombs_are_refused() -> None:
    """Data may be compressed as one gzip member or as many."""
    assert "decoded" in refused(inline(BOMB))
    assert "decoded" in refused(
        [inline(gzip.compress(bytes(400_000)))] * 1
        + [inline(gzip.compress(bytes(400_000))) for _ in range(3)]
    )
    members = gzip.compress(bytes(100_000)) * 50
    assert "decoded" in refused(inline(members))
    assert "decoded" in refused(inline(gzip.compress(bytes(100_000)) + bytes(100) + members))
    assert "decoded" in refused({"type": "typed_array", "array": inline(BOMB), "dtype": "int8"})
    assert "decoded" in refused(ndarray(inline(BOMB), "uint8", [50_000_000]))
    inspect(inline(gzip.compress(bytes(100_000))))


def test_long_compressed_data_are_refused() -> None:
    """BokehJS compresses nothing, so short data are enough."""
    noise = gzip.compress(random.Random(1).randbytes(100_000))
    assert "decoded" in refused(inline(noise), size=200_000)
    inspect(inline(noise[:40_000]), size=200_000)


def test_buffer_used_again_and_again_is_refused() -> None:
    """NumPy copies a buffer for each array that is made of it."""
    reps = [ndarray({"type": "bytes", "data": {"id": "1"}}, "uint8", [500_000]) for _ in range(9)]
    assert "decoded" in refused(reps, buffers=[("1", 500_000)], size=500_300)
    inspect(reps[:1], buffers=[("1", 500_000)], size=500_300)


@pytest.mark.parametrize(
    "dtype", ["S400000000", "U100000000", "V9", "int64", "O", 3, None, [["a", "f8"]]]
)
@pytest.mark.parametrize("data", [1, [1], {"type": "array", "entries": [1]}, inline(b"")])
def test_data_types_unknown_to_bokeh_are_refused(dtype: Any, data: Any) -> None:
    """NumPy would allocate memory for any data type."""
    assert "data type" in refused(ndarray(data, dtype, [1]))
    assert "data type" in refused({"type": "typed_array", "array": data, "dtype": dtype})


@pytest.mark.parametrize(
    "shape", [None, 5, [-1], [True], [2.0], ["2"], [3], [2, 2], [10**9, 0], [2, 10**30, 0]]
)
def test_shapes_that_do_not_fit_the_data_are_refused(shape: Any) -> None:
    data = inline(gzip.compress(bytes(2)))
    assert "shape" in refused(ndarray(data, "uint8", shape))
    assert "shape" in refused(ndarray([1, 2], "object", shape))


def test_empty_arrays_with_long_axes_are_refused() -> None:
    """Such an array would become as many lists."""
    for shape in ([10**9, 0], [900, 900, 0]):
        assert "shape" in refused(ndarray([], "object", shape))
    inspect(ndarray([], "object", [20, 0]))


def test_arrays_not_made_of_bytes_or_a_list_are_refused() -> None:
    """Bytes must fill the array and hold no objects."""
    inner = ndarray([1], "object", [1])
    assert "neither" in refused(ndarray(inner, "float64", [1]))
    assert "neither" in refused(ndarray("x" * 100, "object", [100]))
    assert "objects" in refused(ndarray(inline(gzip.compress(b"12")), "object", [2]))
    assert "fill" in refused(ndarray(inline(gzip.compress(b"123")), "int16", [1]))
    assert "bytes" in refused({"type": "typed_array", "array": [1], "dtype": "int8"})


@pytest.mark.parametrize("kind", ["set", "map"])
def test_many_hashed_numbers_are_refused(kind: str) -> None:
    """Numbers can be chosen so that they share their hash."""
    numbers = [n * (2**61 - 1) for n in range(2000)]
    entries: list[Any] = [[n, 0] for n in numbers] if kind == "map" else numbers
    assert "no strings" in refused({"type": kind, "entries": entries})
    assert "no strings" in refused([{"type": kind, "entries": entries[:400]} for _ in range(3)])
    inspect({"type": kind, "entries": entries[:900]})
    strings = [[str(n), 0] for n in numbers] if kind == "map" else [str(n) for n in numbers]
    inspect({"type": kind, "entries": strings})


def test_deep_nesting_is_refused() -> None:
    """Bokeh's decoder calls itself for each level."""
    value: Any = 1
    for _ in range(150):
        value = [value]
    inspect(value)
    for _ in range(60):
        value = {"a": value}
    assert "deep" in refused(value)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (json.dumps(list(range(19))), True),
        (json.dumps(list(range(30))), False),
        (json.dumps([[]] * 30), False),
        (json.dumps({str(n): 0 for n in range(30)}), False),
        (json.dumps([",[{" * 100, '\\",' * 100, "\\"]), True),
        (json.dumps([",[{" * 100] * 30), False),
        ('"' + '\\"' * 100_000, True),
        ('"' + '\\",' * 100_000, True),
        ('["a",' * 100_000, False),
        ('"\\', True),
        ("[" * 100_000, False),
    ],
)
def test_texts_with_too_many_values_are_refused(text: str, fits: bool) -> None:
    """Values are counted before the text is parsed; the content of strings is skipped."""
    if fits:
        check_text(text, SMALL)
    else:
        with pytest.raises(MessageLimitError, match="BOKEH_MAX_MESSAGE_VALUES"):
            check_text(text, SMALL)


def test_too_many_events_or_new_models_are_refused() -> None:

    def patch(count: int, models: int) -> Any:
        new = [{"type": "object", "name": "Div", "id": f"n{n}"} for n in range(models)]
        event = changed("m", new, "tags")
        return {"events": [event] * count}

    assert inspect_content("PATCH-DOC", patch(3, 3), (), 0, SMALL).new_models == {"n0", "n1", "n2"}
    for count, models, key in ((4, 0, "EVENTS"), (1, 4, "NEW_MODELS")):
        with pytest.raises(MessageLimitError, match=key):
            inspect_content("PATCH-DOC", patch(count, models), (), 0, SMALL)
    with pytest.raises(MessageLimitError, match="NEW_MODELS"):
        inspect_content("PUSH-DOC", {"doc": patch(1, 4)}, (), 0, SMALL)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "map", "entries": [["events", []]]},
        {"events": {"type": "array", "entries": []}},
        {"events": [{"type": "map", "entries": [["kind", "RootAdded"]]}]},
        {"events": [{"kind": {"type": "array"}}]},
        {"events": [{"kind": "RootAdded", "type": "map", "entries": []}]},
        {"events": ["x"]},
        {"events": [], "references": [{"id": "1"}]},
        [],
    ],
)
def test_events_in_another_form_are_refused(content: Any) -> None:
    """Bokeh would decode events that are not a plain list, and these could not be counted."""
    with pytest.raises(MessageLimitError, match="BokehJS"):
        inspect_content("PATCH-DOC", content, (), 0, LIMITS)


@pytest.mark.parametrize("kind", ["ColumnsStreamed", "ColumnsPatched"])
def test_long_strings_in_long_columns_are_refused(kind: str) -> None:
    """NumPy makes room for the longest string in each item of an array."""

    def event(strings: list[str]) -> Any:
        return {"events": [{"kind": kind, "model": {"id": "m"}, "data": [["x", strings]]}]}

    inspect_content("PATCH-DOC", event(["x" * 10**6, *["y"] * 5]), (), 0, LIMITS)
    inspect_content("PATCH-DOC", event(["x" * 100, *["y"] * 10_000]), (), 0, LIMITS)
    with pytest.raises(MessageLimitError, match="long strings"):
        inspect_content("PATCH-DOC", event(["x" * 10_000, *["y"] * 10_000]), (), 0, LIMITS)


def test_ids_that_are_not_strings_are_refused() -> None:
    """Bokeh keeps buffers and models in dicts by their ids."""
    assert "id" in refused(1, buffers=[(5, 1)])
    assert "id" in refused({"type": "object", "name": "Div", "id": 5})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 2, 2**53 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=50)
    | st.builds(lambda v: array.array("d", v), st.lists(st.floats(), max_size=5))
    | st.builds(lambda v: np.array(v, dtype="float32"), st.lists(st.integers(0, 9), max_size=5))
    | st.builds(lambda v: np.array([v, v]), st.lists(st.text(max_size=4), min_size=1, max_size=5))
    | st.builds(lambda n, m: np.zeros((n, m), "uint8"), st.integers(0, 9), st.integers(0, 9))
    | st.builds(lambda v: np.array(v, dtype=bool), st.lists(st.booleans(), max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 99), inner, max_size=5)
        | st.sets(st.integers(0, 99) | st.text(max_size=5), max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values, st.booleans())
def test_values_that_bokeh_serializes_are_accepted(value: Any, deferred: bool) -> None:
    """Any value that Bokeh's serializer writes is accepted, and Bokeh reads it as before."""
    serializer = Serializer(deferred=deferred)
    content = json.loads(json.dumps(serializer.encode(value), default=lambda buffer: buffer.ref))
    buffers = [(buffer.id, len(buffer.to_bytes())) for buffer in serializer.buffers]
    check_text(json.dumps(content), LIMITS)
    inspect(content, buffers=buffers, size=len(json.dumps(content)) + sum(n for _, n in buffers))
    Deserializer().deserialize(Serialized(content, serializer.buffers))


def test_large_legitimate_messages_are_accepted() -> None:
    """Accept 100,000 points as lists and as arrays, a file of 15 MB, and a whole document."""
    points = [n * 0.1 for n in range(100_000)]
    lists = {"type": "map", "entries": [["x", points], ["y", points]]}
    check_text(json.dumps(lists), LIMITS)
    inspect(lists)
    arrays = {"x": np.array(points), "y": np.array(points, dtype="float32")}
    serializer = Serializer()
    content = serializer.encode(arrays)
    for name in ("x", "y"):
        content["entries"][name == "y"][1]["array"]["data"] = serializer.buffers[name == "y"].ref
    buffers = [(buffer.id, len(buffer.to_bytes())) for buffer in serializer.buffers]
    inspect(content, buffers=buffers, size=sum(n for _, n in buffers))
    check_text(json.dumps("a" * 20_000_000), LIMITS)
    document = Document()
    plot = figure(tools="pan,box_select")
    plot.scatter("x", "y", source=ColumnDataSource(arrays))
    document.add_root(column(plot, Slider(start=0, end=1, value=0)))
    message = Protocol().create("PUSH-DOC", document)
    check_text(message.content_json, LIMITS)
    content = inspect_content(
        "PUSH-DOC",
        json.loads(message.content_json),
        [(buffer.id, len(buffer.to_bytes())) for buffer in message.buffers],
        2_000_000,
        LIMITS,
    )
    assert len(content.new_models) > 20
