"""Create the database with its demo accounts.

A site that lives longer than a demo creates and changes its tables with migrations, before its
workers start: see Flask-Migrate.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from .extensions import db
from .models import Item, User

__all__ = ("DEMO_PASSWORD", "DEMO_USERS", "create_database")

DEMO_PASSWORD = "demo"
DEMO_USERS: dict[str, dict[str, Any]] = {
    "Ann": {
        "favourite": "Gentoo",
        "wave": {"amplitude": 2.0, "frequency": 1.0},
        "items": {"Rent": 820.0, "Food": 310.0, "Books": 45.0, "Concerts": 90.0},
    },
    "Bob": {
        "favourite": "Adelie",
        "wave": {"amplitude": 0.5, "frequency": 3.0},
        "items": {"Rent": 640.0, "Food": 275.0, "Bicycle": 120.0},
    },
    "Carla": {
        "favourite": "Chinstrap",
        "wave": {"amplitude": 4.0, "frequency": 0.5},
        "items": {"Mortgage": 1150.0, "Food": 420.0, "Garden": 60.0, "Trains": 135.0},
    },
}


def create_database(app: Flask) -> None:
    """Create the tables and the demo accounts, unless they exist.

    Workers that start at the same time do this one after the other: SQLite gives the write lock
    to one of them, and the others find its work done.
    """
    with app.app_context():
        with db.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            db.metadata.create_all(connection)
            with Session(connection) as session:
                if session.scalar(select(User.id).limit(1)) is None:
                    session.add_all(demo_users())
                session.commit()
            connection.commit()
        db.engine.dispose()  # no connection may cross a fork


def demo_users() -> list[User]:
    """Return the demo accounts, not saved yet."""
    users = []
    for name, has in DEMO_USERS.items():
        user = User(name=name, favourite=has["favourite"], wave=has["wave"])
        user.set_password(DEMO_PASSWORD)
        user.items = [Item(name=name, amount=amount) for name, amount in has["items"].items()]
        users.append(user)
    return users
