"""Values in the form of Bokeh's messages."""

from __future__ import annotations

from typing import Any


def ndarray(data: Any, dtype: str, shape: Any) -> dict[str, Any]:
    return {"type": "ndarray", "array": data, "order": "little", "dtype": dtype, "shape": shape}
