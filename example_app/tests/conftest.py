"""A site with a database of its own for each test, and clients that are logged in."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from .. import create_app
from ..database import DEMO_PASSWORD
from ..extensions import bokeh, db
from ..models import User


def make_app(database: Path, **config: object) -> Flask:
    """Create the site on a database file."""
    return create_app(
        {
            "TESTING": True,
            "SECRET_KEY": secrets.token_hex(),
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}",
            "WTF_CSRF_ENABLED": False,
            **config,
        }
    )


def stop(app: Flask) -> None:
    """Stop the Bokeh server, if one was started, and close the database."""
    with app.app_context():
        bokeh.stop()
        db.engine.dispose()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the demo accounts, made once because hashing passwords is slow."""
    path = tmp_path_factory.mktemp("database") / "seeded.db"
    stop(make_app(path))
    return path


@pytest.fixture
def database(seeded: Path, tmp_path: Path) -> Path:
    """A copy of the database for one test."""
    return Path(shutil.copy(seeded, tmp_path / "test.db"))


@pytest.fixture
def app(database: Path) -> Iterator[Flask]:
    """The site."""
    app = make_app(database)
    yield app
    stop(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A visitor without an account."""
    return app.test_client()


LogIn = Callable[[str], FlaskClient]


@pytest.fixture
def log_in(app: Flask) -> LogIn:
    """A function that returns a client in which a user has logged in."""

    def log_in(name: str) -> FlaskClient:
        client = app.test_client()
        response = client.post("/login", data={"name": name, "password": DEMO_PASSWORD})
        assert response.status_code == 302
        return client

    return log_in


@pytest.fixture
def user_id(app: Flask) -> Callable[[str], str]:
    """A function that returns a user's id, as ``visit.user`` has it."""

    def user_id(name: str) -> str:
        with app.app_context():
            return str(db.session.scalars(select(User.id).where(User.name == name)).one())

    return user_id
