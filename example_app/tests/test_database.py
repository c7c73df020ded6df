"""The database is created once, however many workers start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from flask import Flask
from sqlalchemy import func, select

from ..database import DEMO_USERS, create_database
from ..extensions import db
from ..models import User
from .conftest import make_app, stop


def test_workers_that_start_at_the_same_time(app: Flask) -> None:
    """Each finds or creates tables and accounts; none fails, and none comes twice."""
    with app.app_context():
        db.drop_all()
    barrier = Barrier(4)

    def start(_: int) -> None:
        barrier.wait(60)
        create_database(app)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    with app.app_context():
        assert db.session.scalar(select(func.count(User.id))) == len(DEMO_USERS)


def test_a_second_start_keeps_everything(database: Path) -> None:
    """Changes are still there after a restart."""
    app = make_app(database)
    with app.app_context():
        db.session.scalars(select(User).filter_by(name="Ann")).one().favourite = "Adelie"
        db.session.commit()
    stop(app)
    app = make_app(database)
    with app.app_context():
        assert db.session.scalars(select(User).filter_by(name="Ann")).one().favourite == "Adelie"
    stop(app)
