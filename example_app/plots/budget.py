"""A table that is edited and saved: each user's own rows, in the database."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColumnDataSource,
    DataTable,
    Div,
    NumberEditor,
    NumberFormatter,
    StringEditor,
    TableColumn,
)
from bokeh.plotting import figure
from flask_login import login_required

from flask_bokeh import visit

from ..auth import load_user
from ..callbacks import in_app_context
from ..extensions import bokeh, db
from ..models import Item
from ..theme import BLUE, SITE

MAX_ITEMS, MAX_NAME, MAX_AMOUNT = 30, 60, 1_000_000.0


@bokeh.guard("/budget")
@login_required
def guard() -> bool:
    """Let in whoever is logged in."""
    return True


@bokeh.application("/budget")
def budget(doc: Document) -> None:
    """Fill the document of a new session."""
    fill(doc, visit(doc).user)


def fill(doc: Document, user_id: str | None) -> None:
    """Show a user's budget, and save every change.

    A browser can send anything for its own document. So the rows to change are looked up among
    those of the user, whatever ids come from the table, and the values are checked.
    """
    source = ColumnDataSource(name="items")
    total = Div(name="total", sizing_mode="stretch_width")
    plot = chart(source)

    def show() -> None:
        """Fill the table from the database. Bokeh then calls ``save``, as after any change."""
        items = load_user(user_id).items
        # Not "source.data = ...", which fails while Bokeh reports a change of the data.
        source.data.update(
            id=[item.id for item in items],
            name=[item.name for item in items],
            amount=[item.amount for item in items],
            position=list(range(len(items))),
        )

    @in_app_context
    def save(attr: str, old: Any, new: Any) -> None:
        """Save the table. If something in it is not valid, show the saved one again."""
        if not update(load_user(user_id).items, source.data):
            db.session.rollback()
            show()
            return
        db.session.commit()
        plot.yaxis.ticker = source.data["position"]
        plot.yaxis.major_label_overrides = dict(enumerate(source.data["name"]))
        total.text = f"<b>{sum(source.data['amount']):,.2f} €</b> a month"

    @in_app_context
    def add() -> None:
        user = load_user(user_id)
        if len(user.items) < MAX_ITEMS:
            user.items.append(Item(name="Something new", amount=0.0))
            db.session.commit()
            show()

    @in_app_context
    def remove() -> None:
        chosen = [source.data["id"][index] for index in source.selected.indices]
        user = load_user(user_id)
        user.items = [item for item in user.items if item.id not in chosen]
        db.session.commit()
        source.selected.indices = []
        show()

    source.on_change("data", save)
    show()
    add_button = Button(label="Add a row", name="add", button_type="primary")
    add_button.on_click(add)
    remove_button = Button(label="Delete the selected rows", name="remove")
    remove_button.on_click(remove)
    doc.theme = SITE
    doc.add_root(
        column(
            total,
            row(
                table(source),
                plot,
                sizing_mode="stretch_width",
                styles={"flex-wrap": "wrap"},  # one below the other on a phone
            ),
            row(add_button, remove_button),
            sizing_mode="stretch_width",
        )
    )


def update(items: list[Item], data: Mapping[str, Any]) -> bool:
    """Give items the values of a table, and return whether all of them were valid."""
    own = {item.id: item for item in items}
    for key, name, amount in zip(data["id"], data["name"], data["amount"], strict=True):
        item = own.get(key)
        if item is None:
            return False
        if (item.name, item.amount) != (name, amount):
            if not is_valid(name, amount):
                return False
            item.name, item.amount = name, float(amount)
    return True


def is_valid(name: Any, amount: Any) -> bool:
    """Check what a visitor typed, or sent in some other way."""
    return (
        isinstance(name, str)
        and 0 < len(name.strip()) <= MAX_NAME
        and isinstance(amount, int | float)
        and isfinite(amount)
        and 0 <= amount <= MAX_AMOUNT
    )


def table(source: ColumnDataSource) -> DataTable:
    """Return the table: a double click edits a cell."""
    euros = NumberFormatter(format="0,0.00")
    return DataTable(
        source=source,
        columns=[
            TableColumn(field="name", title="What", editor=StringEditor()),
            TableColumn(field="amount", title="€ a month", editor=NumberEditor(), formatter=euros),
        ],
        editable=True,
        index_position=None,
        reorderable=False,
        sortable=False,
        height=300,
        min_width=260,
        sizing_mode="stretch_width",
        styles={"flex": "1 1 260px"},
    )


def chart(source: ColumnDataSource) -> figure:
    """Return a bar for each row."""
    plot = figure(
        height=300,
        min_width=260,
        sizing_mode="stretch_width",
        styles={"flex": "1 1 260px"},
        x_axis_label="€ a month",
        tools="tap",
        toolbar_location=None,
    )
    plot.hbar(
        y="position",
        right="amount",
        height=0.7,
        source=source,
        color=BLUE,
        alpha=0.8,
        nonselection_alpha=0.3,
    )
    plot.x_range.start, plot.y_range.flipped = 0, True  # from the top, as in the table
    plot.ygrid.visible = False
    plot.yaxis.axis_line_color = plot.yaxis.major_tick_line_color = None
    return plot
