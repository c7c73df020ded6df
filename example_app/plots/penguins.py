"""A dashboard: two plots and a table that share a selection, and a summary in Python."""

from __future__ import annotations

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import CDSView, ColumnDataSource, DataTable, Div, GroupFilter, TableColumn
from bokeh.plotting import figure

from flask_bokeh import Visit

from ..auth import load_user
from ..data import penguins
from ..extensions import bokeh
from ..theme import BLUE, GREEN, ORANGE, SITE

COLOURS = {"Adelie": ORANGE, "Chinstrap": GREEN, "Gentoo": BLUE}
COLUMNS = {
    "species": "Species",
    "island": "Island",
    "bill_length_mm": "Bill (mm)",
    "flipper_length_mm": "Flipper (mm)",
    "body_mass_g": "Mass (g)",
}


@bokeh.application("/penguins")
def dashboard(doc: Document) -> None:
    """Fill the document of a new session."""
    table = penguins()
    source = ColumnDataSource(table.to_dict("list"), name="penguins")
    summary = Div(name="summary", sizing_mode="stretch_width")

    def scatter(x: str, y: str, x_label: str, y_label: str) -> figure:
        plot = figure(
            height=300,
            min_width=280,
            styles={"flex": "1 1 280px"},
            sizing_mode="stretch_width",
            x_axis_label=x_label,
            y_axis_label=y_label,
            tools="box_select,lasso_select,tap,reset",
            active_drag="box_select",
        )
        for species, colour in COLOURS.items():
            view = CDSView(filter=GroupFilter(column_name="species", group=species))
            plot.scatter(
                x,
                y,
                source=source,
                view=view,
                color=colour,
                size=7,
                alpha=0.7,
                nonselection_alpha=0.1,
                legend_label=species,
            )
        plot.legend.orientation, plot.legend.padding = "horizontal", 2
        plot.add_layout(plot.legend[0], "above")
        return plot

    def summarize(attr: str, old: list[int], new: list[int]) -> None:
        chosen = table.iloc[new] if new else table
        summary.text = (
            f"<b>{len(chosen)}</b> of {len(table)} penguins, "
            f"<b>{chosen['body_mass_g'].mean() / 1000:.2f} kg</b> on average"
        )

    source.selected.on_change("indices", summarize)
    summarize("indices", [], [])
    doc.theme = SITE
    doc.add_root(
        column(
            summary,
            row(
                scatter("bill_length_mm", "bill_depth_mm", "bill length (mm)", "bill depth (mm)"),
                scatter("flipper_length_mm", "body_mass_g", "flipper (mm)", "mass (g)"),
                sizing_mode="stretch_width",
                styles={"flex-wrap": "wrap"},  # one below the other on a phone
            ),
            DataTable(
                source=source,
                columns=[TableColumn(field=key, title=title) for key, title in COLUMNS.items()],
                height=240,
                sizing_mode="stretch_width",
                index_position=None,
                reorderable=False,
            ),
            sizing_mode="stretch_width",
        )
    )


@bokeh.customize("/penguins")
def select_favourite(doc: Document, visit: Visit) -> None:
    """Select the species that the user likes best."""
    user = load_user(visit.user)
    if user is None:
        return
    table = penguins()
    source = doc.select_one({"name": "penguins"})
    source.selected.indices = table.index[table["species"] == user.favourite].to_list()
    doc.select_one({"name": "summary"}).text += f" - {user.name} likes {user.favourite}s best"
