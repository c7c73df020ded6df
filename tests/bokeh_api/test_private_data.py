"""Changes to data that an application shares affect one visitor only."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from bokeh.core.property.wrappers import PropertyValueColumnData
from bokeh.document import Document
from bokeh.models import ColumnDataSource

from flask_bokeh.bokeh_api.v3.patches import BrowserPatch, PrivateColumns, make_columns_private

from ..support.messages import as_map, changed, clicked
from ..support.servers import Live, LiveServer
from ..support.sockets import Socket, connect

APP = "tests.live_apps.shared:create_app()"
ZERO = [0, 0, 0]


@pytest.fixture(scope="module")
def site(module_live: Live) -> LiveServer:
    """A site whose log holds no trouble except a warning of Bokeh's for a read-only array."""
    expected = ["attempted to patch an immutable numpy array"]
    return module_live("gunicorn-sync", APP, expected=expected)


def patched(model: str, patches: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "ColumnsPatched", "model": {"id": model}, "attr": "data", "patches": patches}


def streamed(model: str, data: dict[str, Any], rollover: int | None = None) -> dict[str, Any]:
    event = {"kind": "ColumnsStreamed", "model": {"id": model}, "attr": "data", "data": data}
    return {**event, "rollover": rollover}


def piece(start: int, stop: int) -> dict[str, Any]:
    return {"type": "slice", "start": start, "stop": stop, "step": None}


def shared(site: LiveServer) -> dict[str, Any]:
    return dict(json.loads(site.get("/data")))


def ok(client: Socket, *events: dict[str, Any]) -> None:
    answer = client.change(*events)
    assert answer["type"] == "OK", answer


def test_changes_of_one_visitor_leave_shared_data_alone(site: LiveServer) -> None:
    """Patches and streams from a browser change no array, list or Series of other visitors."""
    before = shared(site)
    with (
        connect(site, "/shared", site.token()) as ann,
        connect(site, "/shared", site.token()) as bob,
    ):
        ids = ann.ids()
        ok(ann, patched(ids["flat"], {name: [[1, 9]] for name in ("list", "array", "series")}))
        ok(ann, patched(ids["flat"], {"objects": [[0, "x"]]}))
        ok(ann, patched(ids["flat"], {name: [[piece(0, 2), [8, 8]]] for name in ("list", "array")}))
        part = [[1, piece(0, 1), piece(0, 2)], [5, 5]]
        ok(ann, patched(ids["nested"], {name: [part] for name in ("image", "images", "cube")}))
        ok(ann, patched(ids["nested"], {"lines": [[0, [5, 5]]]}))
        columns = ("list", "array", "series", "objects")
        ok(ann, streamed(ids["flat"], {name: [4] for name in columns}))
        ok(ann, streamed(ids["flat"], {name: [4] for name in columns}, rollover=2))
        assert shared(site) == before
        ann_sees, bob_sees = ann.data("flat"), bob.data("flat")
        assert ann_sees["list"] == [4, 4]
        assert ann_sees["array"] == [4, 4]
        assert bob_sees["list"] == bob_sees["array"] == ZERO
        assert ann.data("nested")["lines"] == [[5, 5], [0, 0], [0, 0]]
        assert bob.data("nested")["lines"] == [[0, 0], [0, 0], [0, 0]]


def test_data_that_a_callback_shares_stay_unchanged(site: LiveServer) -> None:
    """A callback gives shared data to a source, and the same message changes the source."""
    before = shared(site)
    with connect(site, "/shared", site.token()) as client:
        ids = client.ids()
        typed = changed(ids["text"], "x")
        change = patched(ids["again"], {"array": [[0, 9]], "list": [[0, 9]]})
        ok(client, change | {"patches": {}}, typed, change)
        ok(client, streamed(ids["again"], {"array": [1], "list": [1]}))
        assert client.data("again") == {"array": [9, 0, 0, 1], "list": [9, 0, 0, 1]}
        assert shared(site) == before


def test_changes_by_callbacks_affect_one_visitor(site: LiveServer) -> None:
    """Stream and patch in callbacks and, in the form that BokehJS writes, in messages."""
    before = shared(site)
    with connect(site, "/shared", site.token()) as client:
        ids = client.ids()
        for length in (4, 5):
            answer = client.change(clicked(ids["button"]))
            assert answer["type"] == "OK", answer
            sent = [event["kind"] for content in answer["before"] for event in content["events"]]
            assert sent == ["ColumnsStreamed", "ColumnsPatched"]
            assert len(client.data("lists")["list"]) == length
        assert client.data("flat")["array"] == [7, 0, 0]
        ok(client, patched(ids["flat"], as_map({"list": [[0, 3]]})))
        ok(client, streamed(ids["lists"], as_map({"list": [3]}), 99))
        ok(client, clicked(ids["button"]))
        assert client.data("lists")["list"] == [0, 0, 0, 7, 7, 3, 7]
    with connect(site, "/shared", site.token()) as other:
        assert other.data("lists") == {"list": ZERO}
    assert shared(site) == before


def test_read_only_columns_stay_as_they_are(site: LiveServer) -> None:
    """Accept a change to an array that the application has made read-only, without effect."""
    with connect(site, "/shared", site.token()) as client:
        ok(client, patched(client.ids()["fixed"], {"fixed": [[0, 9]]}))
        assert client.data("fixed") == {"fixed": ZERO}


class Source:
    """A source with private columns, in a document."""

    def __init__(self, **columns: Any) -> None:
        self.source = ColumnDataSource(columns)
        self.document = Document()
        self.document.add_root(self.source)
        make_columns_private(self.document.models)

    @property
    def data(self) -> Any:
        return self.source.data


def test_columns_are_copied_once() -> None:
    """A column is copied before its first change only."""
    shared = np.zeros(3)
    one = Source(x=shared)
    assert one.data["x"] is shared
    one.source.patch({"x": [(0, 1)]})
    own = one.data["x"]
    one.source.patch({"x": [(0, 2)]})
    assert one.data["x"] is own
    assert own.tolist() == [2, 0, 0]
    assert shared.tolist() == ZERO


def test_replaced_columns_are_copied_again() -> None:
    """The old copy of a column that the application replaces is dropped."""
    shared = [0, 0, 0]
    one = Source(x=[1, 2, 3])
    one.source.patch({"x": [(0, 1)]})
    one.data["x"] = shared
    assert isinstance(one.data, PrivateColumns)
    assert one.data._copies == {}
    one.source.patch({"x": [(0, 1)]})
    assert shared == ZERO
    one.source.data = {"x": shared}
    make_columns_private(one.document.models)
    one.source.stream({"x": [4]})
    assert shared == ZERO
    assert one.data["x"] == [0, 0, 0, 4]


def test_copying_a_column_sends_no_event() -> None:
    """Callbacks and browsers get the change only."""
    one = Source(x=[0, 0, 0])
    events: list[str] = []
    calls: list[str] = []
    one.document.on_change(lambda event: events.append(type(event).__name__))
    one.source.on_change("data", lambda attr, old, new: calls.append(attr))
    one.source.patch({"x": [(0, 1)]})
    one.source.stream({"x": [1]})
    assert events == ["ColumnsPatchedEvent", "ColumnsStreamedEvent"]
    assert calls == ["data", "data"]


def test_bokehs_patch_method_is_the_one_we_repeat() -> None:
    """BrowserPatch repeats this method; the test fails if Bokeh changes it."""
    source = inspect.getsource(Document.apply_json_patch)
    body = source.partition("'''\n        des")[2].replace('"', "'")
    assert [line.strip() for line in body.splitlines() if line.strip() and "#" not in line] == [
        "erializer = Deserializer(list(self.models), setter=setter)",
        "try:",
        "patch: PatchJson = deserializer.deserialize(patch_json)",
        "except UnknownReferenceError as error:",
        "if self.models.seen(error.id):",
        "logging.debug(f'''\\",
        "Dropping a patch because it contains a previously known reference (id={error.id!r}). \\",
        "Most of the time this is harmless and usually a result of updating a model on one \\",
        "side of a communications channel while it was being removed on the other end.\\",
        "''')",
        "return",
        "else:",
        "raise",
        "events = patch['events']",
        "for event in events:",
        "DocumentPatchedEvent.handle_event(self, event, setter)",
        "self.models.flush_synced(lambda model: not deserializer.has_ref(model))",
    ]


@pytest.mark.parametrize("name", ["_stream", "_patch"])
def test_overridden_methods_have_known_parameters(name: str) -> None:
    """Bokeh changes columns in place in these methods."""
    parameters = list(inspect.signature(getattr(PropertyValueColumnData, name)).parameters)
    changes = {"_stream": ["new_data", "rollover"], "_patch": ["patches"]}[name]
    assert parameters == ["self", "doc", "source", *changes, "setter"]
    assert callable(BrowserPatch.apply_to_document)
