"""Sessions of the other plots, without a browser."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from flask import Flask
from flask_login import login_user

from .. import data
from ..auth import load_user
from ..extensions import bokeh

UserId = Callable[[str], str]


def test_hook_selects_the_users_favourite_species(app: Flask, user_id: UserId) -> None:
    """Ann's session has the Gentoos selected; the session of an anonymous visitor has none."""
    with app.test_request_context(), bokeh.pull_session("/penguins") as session:
        assert session.document.select_one({"name": "penguins"}).selected.indices == []
    with app.test_request_context():
        login_user(load_user(user_id("Ann")))
        with bokeh.pull_session("/penguins") as session:
            source = session.document.select_one({"name": "penguins"})
            selected = {source.data["species"][index] for index in source.selected.indices}
            assert selected == {"Gentoo"}
            assert "Ann likes" in session.document.select_one({"name": "summary"}).text


def test_wave_is_saved_for_its_user_only(app: Flask, user_id: UserId) -> None:
    """Releasing a slider saves the wave of its user and of no other user."""
    for name in ("Ann", None):
        with app.test_request_context():
            if name:
                login_user(load_user(user_id(name)))
            with bokeh.pull_session("/sliders") as session:
                slider = session.document.select_one({"name": "amplitude"})
                slider.value = 3.5
                slider.trigger("value_throttled", 1, 3.5)  # browsers set it at the release
    with app.app_context():
        assert load_user(user_id("Ann")).wave["amplitude"] == 3.5
        assert load_user(user_id("Bob")).wave["amplitude"] == 0.5


def test_files_are_read_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second session of a plot reads no file, and no session has changed the data."""
    paths = ("/penguins", "/sea", "/weather")

    def visit_all() -> None:
        with app.test_request_context():
            for path in paths:
                with bokeh.pull_session(path):
                    pass

    visit_all()
    tables = [data.penguins(), data.sea_temperature(), data.lincoln_weather()]
    before = [table.copy(deep=True) for table in tables]

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(pd, "read_csv", refuse)
    visit_all()
    for table, copy in zip(tables, before, strict=True):
        pd.testing.assert_frame_equal(table, copy)
