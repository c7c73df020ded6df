"""A stream: a year of the sea's temperature, replayed."""

from __future__ import annotations

from itertools import count
from typing import Any

from bokeh.document import Document
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from flask_bokeh import visit

from ..data import sea_temperature
from ..extensions import bokeh
from ..theme import BLUE, SITE

STEP = 12  # rows at a time: six hours


@bokeh.application("/sea")
def sea(doc: Document) -> None:
    """Fill the document of a new session."""
    table = sea_temperature()
    start = int(visit(doc).arguments.get("day", "0")) * 48

    def rows(first: int, number: int) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = table.iloc[first : first + number].to_dict("list")
        return columns

    source = ColumnDataSource(rows(start, 480), name="sea")
    plot = figure(
        name="plot",
        height=int(visit(doc).arguments.get("height", "360")),
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        y_axis_label="°C",
        y_range=(2, 24),
        tools="",
    )
    plot.varea("time", 2, "celsius", source=source, fill_color=BLUE, fill_alpha=0.12)
    plot.line("time", "celsius", source=source, line_width=2, color=BLUE)
    plot.x_range.follow, plot.x_range.follow_interval = "end", 10 * 86_400_000
    steps = count(start + 480, STEP)

    def next_rows() -> None:
        position = next(steps) % (len(table) - STEP)
        source.stream(rows(position, STEP), rollover=1_000)

    doc.add_periodic_callback(next_rows, 100)  # ends with the session
    doc.theme = SITE
    doc.add_root(plot)
