"""Values in the form of Bokeh's messages."""

from __future__ import annotations

from typing import Any


def ndarray(data: Any, dtype: str, shape: Any) -> dict[str, Any]:
    return {"type": "ndarray", "array": data, "order": "little", "dtype": dtype, "shape": shape}


def as_map(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dict in the form in which BokehJS sends it."""
    return {"type": "map", "entries": [list(item) for item in values.items()]}


def changed(model: str, new: Any, attr: str = "value") -> dict[str, Any]:
    """Return the event of a changed property."""
    return {"kind": "ModelChanged", "model": {"id": model}, "attr": attr, "new": new}


def clicked(button: str) -> dict[str, Any]:
    """Return the event of a click on a button."""
    values = as_map({"model": {"id": button}})
    event = {"type": "event", "name": "button_click", "values": values}
    return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}
