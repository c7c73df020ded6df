"""The application that every benchmark shows: four sliders, a text field and a sine curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Slider, TextInput
from bokeh.plotting import figure

if TYPE_CHECKING:
    from bokeh.document import Document

X = np.linspace(0, 4 * np.pi, 200)


def sliders(doc: Document) -> None:
    """Fill a document with the application."""
    source = ColumnDataSource({"x": X, "y": np.sin(X)})
    plot = figure(
        title="my sine wave",
        width=400,
        height=400,
        x_range=(0, 4 * np.pi),
        y_range=(-2.5, 2.5),
        tools="crosshair,pan,reset,save,wheel_zoom",
    )
    plot.line("x", "y", source=source, line_width=3, line_alpha=0.6)

    text = TextInput(title="title", value="my sine wave")
    offset = Slider(title="offset", value=0, start=-5, end=5, step=0.1)
    amplitude = Slider(title="amplitude", value=1, start=-5, end=5, step=0.1)
    phase = Slider(title="phase", value=0, start=0, end=2 * np.pi)
    frequency = Slider(title="frequency", value=1, start=0.1, end=5.1, step=0.1)

    def retitle(attr: str, old: Any, new: Any) -> None:
        plot.title.text = text.value

    def redraw(attr: str, old: Any, new: Any) -> None:
        curve = amplitude.value * np.sin(frequency.value * X + phase.value) + offset.value
        source.data = {"x": X, "y": curve}

    text.on_change("value", retitle)
    for slider in (offset, amplitude, phase, frequency):
        slider.on_change("value", redraw)
    doc.add_root(row(column(text, offset, amplitude, phase, frequency), plot, width=800))
    doc.title = "Sliders"


def customize(doc: Document, user: str) -> None:
    """The edit that every page makes, as in Bokeh's documentation."""
    layout: Any = doc.roots[0]
    layout.children[1].title.text = f"Sliders for {user}!"
