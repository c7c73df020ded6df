"""Show this site's own code on its pages. Nothing for your site."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import callbacks, plots, views

__all__ = ("source",)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sliders": views.sliders,
    "favourite": plots.penguins.select_favourite,
    "sea": plots.sea.sea,
    "fill": plots.budget.fill,
    "guard": plots.budget.guard,
    "in_app_context": callbacks.in_app_context,
}


def source(name: str) -> str:
    """Return the code of a function, or the text of a file in this folder."""
    if name in FUNCTIONS:
        return inspect.getsource(FUNCTIONS[name])
    return (Path(__file__).parent / name).read_text()
