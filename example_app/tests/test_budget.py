"""Callbacks that use the database, without a server and in a session of the Bokeh server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.events import ButtonClick
from bokeh.models import Button, ColumnDataSource
from flask import Flask, has_app_context
from flask_login import login_user
from sqlalchemy import QueuePool
from werkzeug.exceptions import HTTPException

from ..auth import load_user
from ..callbacks import in_app_context
from ..extensions import bokeh, db
from ..models import Item
from ..plots.budget import MAX_ITEMS, fill

UserId = Callable[[str], str]
Show = Callable[[str], Document]


@pytest.fixture
def show(app: Flask, user_id: UserId) -> Show:
    """A function that returns a document with a user's budget, without any server."""

    def show(name: str) -> Document:
        doc = Document()
        with app.app_context():
            fill(doc, user_id(name))
        return doc  # its callbacks run outside of the context, as they do in Bokeh

    return show


@pytest.fixture
def saved(app: Flask, user_id: UserId) -> Callable[[str], dict[str, float]]:
    """A function that returns a user's budget in the database."""

    def saved(name: str) -> dict[str, float]:
        with app.app_context():
            return {item.name: item.amount for item in load_user(user_id(name)).items}

    return saved


Saved = Callable[[str], dict[str, float]]


def source(doc: Document) -> ColumnDataSource:
    return doc.select_one({"name": "items"})


def click(doc: Document, name: str) -> None:
    button = doc.select_one({"name": name})
    assert isinstance(button, Button)
    doc.callbacks.trigger_event(ButtonClick(button))


def test_edit_is_saved(show: Show, saved: Saved) -> None:
    """A changed cell is in the database, in the total, and in the user's next session."""
    doc = show("Ann")
    source(doc).patch({"amount": [(1, 400.0)], "name": [(2, "Comics")]})
    assert saved("Ann") == {"Rent": 820, "Food": 400, "Comics": 45, "Concerts": 90}
    assert "1,355.00" in doc.select_one({"name": "total"}).text
    assert list(source(show("Ann")).data["name"]) == ["Rent", "Food", "Comics", "Concerts"]


def test_edits_do_not_change_the_budgets_of_others(show: Show, saved: Saved) -> None:
    """Edits of one user change nothing in another user's budget."""
    before = saved("Bob")
    source(show("Ann")).patch({"amount": [(0, 1.0)]})
    assert saved("Bob") == before
    assert list(source(show("Bob")).data["name"]) == ["Rent", "Food", "Bicycle"]


def test_ids_of_other_users_rows_change_nothing(show: Show, saved: Saved) -> None:
    """A browser that sends ids of another user's rows can neither change nor delete them."""
    doc, before = show("Ann"), saved("Bob")
    theirs = source(show("Bob")).data["id"]
    source(doc).data = {**source(doc).data, "id": [*theirs, 99], "amount": [0.0] * 4}
    assert saved("Bob") == before
    own = show("Ann")
    source(own).data["id"][0] = theirs[0]
    source(own).selected.indices = [0]
    click(own, "remove")
    assert saved("Bob") == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("amount", value) for value in (-1.0, float("nan"), float("inf"), 2e6, None, "much")],
        *[("name", value) for value in ("", "  ", "x" * 61, None, 3)],
    ],
)
def test_invalid_values_are_reset_and_not_saved(
    show: Show, saved: Saved, column: str, value: Any
) -> None:
    """An invalid value is not saved, and the table shows the saved one again."""
    doc, before = show("Ann"), saved("Ann")
    old = source(doc).data[column][0]
    source(doc).patch({column: [(0, value)]})
    assert saved("Ann") == before
    assert source(doc).data[column][0] == old


def test_rows_are_added_and_deleted(show: Show, saved: Saved) -> None:
    """The buttons add rows, up to a limit, and delete the selected ones."""
    doc = show("Ann")
    click(doc, "add")
    assert saved("Ann")["Something new"] == 0
    source(doc).selected.indices = [0, 4]
    click(doc, "remove")
    assert list(saved("Ann")) == ["Food", "Books", "Concerts"]
    assert source(doc).selected.indices == []
    for _ in range(MAX_ITEMS):
        click(doc, "add")
    assert len(source(doc).data["id"]) == MAX_ITEMS


def test_callback_returns_its_database_connection(app: Flask, show: Show) -> None:
    """No connection is in use after a callback, even after one that raised an error."""
    with app.app_context():
        pool = db.engine.pool
        assert isinstance(pool, QueuePool)

        @in_app_context
        def fail() -> None:
            db.session.add(Item(name="lost", amount=1.0, user_id=1))
            db.session.flush()
            raise RuntimeError("for the test")

    source(show("Ann")).patch({"amount": [(0, 1.0)]})
    assert pool.checkedout() == 0
    with pytest.raises(RuntimeError, match="for the test"):
        fail()
    assert pool.checkedout() == 0
    assert not has_app_context()
    with app.app_context():
        assert db.session.scalar(db.select(Item).filter_by(name="lost")) is None


def test_edit_in_a_pulled_session_is_saved(app: Flask, user_id: UserId, saved: Saved) -> None:
    """A session of the Bokeh server passes the guard and saves edits for the visit's user."""
    with app.test_request_context():
        login_user(load_user(user_id("Bob")))
        with bokeh.pull_session("/budget") as session:
            source(session.document).patch({"amount": [(2, 99.0)]})
            assert "1,014.00" in session.document.select_one({"name": "total"}).text
    assert saved("Bob")["Bicycle"] == 99


def test_budget_session_needs_a_login(app: Flask) -> None:
    """The guard redirects a view that pulls a session of the budget without a login."""
    with (
        app.test_request_context(),
        pytest.raises(HTTPException, match="/login") as refused,
        bokeh.pull_session("/budget"),
    ):
        pass
    assert refused.value.get_response().status_code == 302
