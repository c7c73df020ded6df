"""Creation of the database by several workers, and restarts."""

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


def test_concurrent_starts_create_each_account_once(app: Flask) -> None:
    """Workers that start at the same time create tables and accounts without errors."""
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


def test_restart_keeps_changes(database: Path) -> None:
    """Changes are still in the database after a restart."""
    app = make_app(database)
    with app.app_context():
        db.session.scalars(select(User).filter_by(name="Ann")).one().favourite = "Adelie"
        db.session.commit()
    stop(app)
    app = make_app(database)
    with app.app_context():
        assert db.session.scalars(select(User).filter_by(name="Ann")).one().favourite == "Adelie"
    stop(app)
