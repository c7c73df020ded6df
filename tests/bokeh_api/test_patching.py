"""Messages that are applied to documents at a bounded cost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div, Plot
from bokeh.protocol import Protocol

from flask_bokeh.bokeh_api.v3.message_inspector import BoundedPatch
from flask_bokeh.bokeh_api.v3.message_limits import MessageLimits, inspect_content
from flask_bokeh.errors import MessageLimitError

from ..support.messages import changed, ndarray

LIMITS = MessageLimits(size=20 * 2**20, values=250_000, events=100, new_models=100)


class _Recomputed(Document):
    """A document that counts how often its models are recomputed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        recompute = self.models.recompute

        def counted() -> None:
            self.count += 1
            recompute()

        self.models.recompute = counted  # type: ignore[method-assign]


def apply(document: Document, *events: Any) -> None:
    message: Any = Protocol().assemble(
        '{"msgid": "1", "msgtype": "PATCH-DOC"}', "{}", json.dumps({"events": events})
    )
    content = inspect_content("PATCH-DOC", message.content, (), 1000, LIMITS)
    BoundedPatch(message, content, LIMITS).apply_to_document(document)


def root(name: str, kind: str = "Div", **attributes: Any) -> Any:
    model = {"type": "object", "name": kind, "id": name, "attributes": attributes}
    return {"kind": "RootAdded", "model": model}


def test_models_are_recomputed_once_for_a_message() -> None:
    """A message with changes of the structure costs one recomputation, however many it has."""
    document = _Recomputed()
    apply(document, *[root(f"r{n}") for n in range(50)])
    assert (document.count, len(document.models)) == (1, 50)
    apply(document, root("s"))
    assert document.count == 2
    holder = {"kind": "ModelChanged", "model": {"id": "s"}, "attr": "tags"}
    apply(document, *[{**holder, "new": [{"id": f"r{n}"}]} for n in range(50)])
    assert document.count == 3
    apply(document, *[{**holder, "attr": "text", "new": str(n)} for n in range(50)])
    assert document.count == 3  # text is no structure


def test_models_from_the_browser_are_not_sent_back() -> None:
    for names in (["a"], ["a", "b"]):
        document = Document()
        apply(document, *[root(name) for name in names])
        assert {model.id for model in document.models.synced_references} == set(names)


def test_failed_patch_leaves_the_document_usable() -> None:
    """A patch with a bad event raises, and the document's models are up to date."""
    document = Document()
    bad = changed("a", 5, "text")
    with pytest.raises(ValueError, match="text"):
        apply(document, root("a"), root("b"), {**bad, "model": root("c")["model"]})
    assert {"a", "b"} <= {model.id for model in document.models}
    document.add_root(Div(name="after"))
    assert document.get_model_by_name("after") is not None


def test_callback_sees_the_models_with_their_own_change() -> None:
    """A message with one change of the structure is applied as Bokeh applies it."""
    document = Document()
    seen: list[int] = []
    document.on_change(lambda event: seen.append(len(document.models)))
    apply(document, root("a"))
    assert seen == [1]


def stream(source: ColumnDataSource, column: Any) -> Any:
    data = {"type": "map", "entries": [["x", column]]}
    event = {"kind": "ColumnsStreamed", "model": {"id": source.id}, "attr": "data"}
    return {**event, "data": data, "rollover": None}


def streamed_to(kept: Any) -> tuple[Document, ColumnDataSource]:
    document = Document()
    source = ColumnDataSource({"x": kept})
    document.add_root(Plot(tags=[source]))
    return document, source


@pytest.mark.parametrize(
    ("kept", "column"),
    [
        (np.zeros(20_000), ["x" * 10_000]),
        (np.zeros(20_000), ndarray(["x" * 10_000], "object", [1])),
        (np.array(["y"] * 20_000), ["x" * 10_000]),
        (["x" * 10_000, *["y"] * 20_000], ndarray([1], "object", [1])),
    ],
)
def test_streams_that_widen_a_column_are_refused(kept: Any, column: Any) -> None:
    """One long string would take room for as many characters in each item of a column."""
    document, source = streamed_to(kept)
    with pytest.raises(MessageLimitError, match="long string"):
        apply(document, stream(source, column))
    assert len(source.data["x"]) == len(kept)


@pytest.mark.parametrize(
    ("kept", "column"),
    [
        (np.zeros(6_000_000), [1.5]),
        (np.zeros(6_000_000), ndarray([1.5], "object", [1])),
        (np.array(["abcdefgh"] * 1_000_000), ["xyz"]),
        (["abcdefgh"] * 1_000_000, ["xyz" * 1000]),
        (["abcdefgh"] * 1_000_000, ndarray(["xyz"], "object", [1])),
    ],
)
def test_streams_to_long_columns_are_accepted(kept: Any, column: Any) -> None:
    """Values like those in the column can be appended, however many there are."""
    document, source = streamed_to(kept)
    before = len(kept)
    apply(document, stream(source, column))
    assert len(source.data["x"]) == before + 1


def test_stream_must_be_alone_in_its_message() -> None:
    """Other changes in the message could replace the column that was checked."""
    document, source = streamed_to([1])
    event = stream(source, [2])
    text = changed(source.id, "n", "name")
    for events in ([event, event], [text, event], [{**event, "model": root("new")["model"]}]):
        with pytest.raises(MessageLimitError, match="streams"):
            apply(document, *events)
