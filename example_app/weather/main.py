"""A directory application: this script, a theme, a template and static files, side by side."""

import pandas as pd
from bokeh.io import curdoc
from bokeh.models import ColumnDataSource, DateRangeSlider, Div
from bokeh.plotting import figure

from example_app.data import lincoln_weather

table = lincoln_weather()  # this script runs for each session, the file is read once
source = ColumnDataSource(table.to_dict("list"))

plot = figure(
    name="plot",
    title="Lincoln, Nebraska, 2016",
    height=320,
    sizing_mode="stretch_width",
    x_axis_type="datetime",
    y_axis_label="°F",
    tools="xpan,xwheel_zoom,reset",
)
plot.varea(
    "DATE",
    "TMIN",
    "TMAX",
    source=source,
    fill_color="#f0a43a",
    fill_alpha=0.35,
)
plot.line("DATE", "TMAX", source=source, line_color="#c2570c", line_width=1.5)

plot.xaxis.ticker.desired_num_ticks = 4

days = DateRangeSlider(
    name="days",
    title="Days",
    start=table.DATE.min(),
    end=table.DATE.max(),
    value=(table.DATE.min(), table.DATE.max()),
    sizing_mode="stretch_width",
    margin=(5, 20, 5, 20),
)
facts = Div(name="facts", sizing_mode="stretch_width", margin=(5, 20, 5, 20))


def choose(attr, old, new):
    first, last = (pd.Timestamp(day).tz_localize(None) for day in days.value_as_datetime)
    chosen = table[table.DATE.between(first, last)]
    plot.x_range.start, plot.x_range.end = first, last
    facts.text = (
        f"<b>{len(chosen)} days</b>, warmest {chosen.TMAX.max()} °F, coldest {chosen.TMIN.min()} °F"
    )


days.on_change("value", choose)
choose("value", None, None)

for model in (plot, days, facts):
    curdoc().add_root(model)
curdoc().title = "Weather"
