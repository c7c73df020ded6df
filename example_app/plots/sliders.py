"""Bokeh's classic sliders: a wave whose shape follows Python callbacks, and is saved."""

from __future__ import annotations

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Slider, TextInput
from bokeh.plotting import figure

from flask_bokeh import visit

from ..auth import load_user
from ..callbacks import in_app_context
from ..extensions import bokeh, db
from ..theme import BLUE, SITE

X = np.linspace(0, 4 * np.pi, 300)


@bokeh.application("/sliders")
def sliders(doc: Document) -> None:
    """Fill the document of a new session."""
    source = ColumnDataSource({"x": X, "y": np.sin(X)})
    plot = figure(
        title="A wave",
        name="plot",
        height=340,
        sizing_mode="stretch_width",
        y_range=(-5, 5),
        tools="pan,wheel_zoom,reset,save",
    )
    plot.line("x", "y", source=source, line_width=3, color=BLUE)

    def slider(name: str, start: float, end: float, value: float) -> Slider:
        return Slider(
            title=name,
            name=name,
            start=start,
            end=end,
            value=value,
            step=0.1,
            sizing_mode="stretch_width",
        )

    title = TextInput(title="title", value="A wave", name="title", sizing_mode="stretch_width")
    offset, amplitude = slider("offset", -3, 3, 0), slider("amplitude", -5, 5, 1)
    phase, frequency = slider("phase", 0, 6.2, 0), slider("frequency", 0.1, 5, 1)

    def reshape(attr: str, old: float, new: float) -> None:
        source.data = {
            "x": X,
            "y": amplitude.value * np.sin(frequency.value * X + phase.value) + offset.value,
        }

    @in_app_context
    def save(attr: str, old: float, new: float) -> None:
        """Save the shape for a user who is logged in."""
        user = load_user(visit(doc).user)
        if user is not None:
            user.wave = {widget.name: widget.value for widget in widgets}
            db.session.commit()

    widgets = (offset, amplitude, phase, frequency)
    for widget in widgets:
        widget.on_change("value", reshape)
        widget.on_change("value_throttled", save)  # when the handle is let go
    title.on_change("value", lambda attr, old, new: plot.title.update(text=new))

    doc.theme = SITE
    doc.add_root(
        column(
            plot,
            title,
            row(offset, amplitude, sizing_mode="stretch_width"),
            row(phase, frequency, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
    )
