"""Login, logout and the page that needs a login."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ..database import DEMO_PASSWORD
from ..extensions import db
from ..models import User
from .conftest import LogIn, make_app, stop


def test_public_pages_need_no_login(client: FlaskClient) -> None:
    """All pages but the budget are public."""
    for path in ("/", "/login", "/sliders", "/penguins", "/sea", "/weather", "/bokeh/weather"):
        assert client.get(path).status_code == 200, path


def test_budget_needs_a_login(client: FlaskClient, log_in: LogIn) -> None:
    """The budget redirects visitors to the login page, which redirects them back."""
    response = client.get("/budget")
    assert response.location == "/login?next=%2Fbudget"
    response = client.post(response.location, data={"name": "Ann", "password": DEMO_PASSWORD})
    assert response.location == "/budget"
    assert client.get("/budget").status_code == 200


def test_login_page_shows_the_demo_accounts(client: FlaskClient) -> None:
    """The login page has a button for each demo account, and shows their password."""
    page = client.get("/login").text
    assert all(f"Log in as {name}" in page for name in ("Ann", "Bob", "Carla"))
    assert DEMO_PASSWORD in page


@pytest.mark.parametrize(("name", "password"), [("Ann", "wrong"), ("Nobody", "demo"), ("", "")])
def test_wrong_name_or_password_is_refused(client: FlaskClient, name: str, password: str) -> None:
    """A wrong name and a wrong password get the same message."""
    page = client.post("/login", data={"name": name, "password": password}).text
    assert "do not match an account" in page
    assert client.get("/budget").status_code == 302


def test_logout_needs_a_post(log_in: LogIn) -> None:
    """Logout accepts only POST, so that no link or image can log users out."""
    client = log_in("Ann")
    assert client.get("/logout").status_code == 405
    assert client.get("/budget").status_code == 200
    assert client.post("/logout").location == "/login"
    assert client.get("/budget").status_code == 302


@pytest.mark.parametrize(
    "target",
    [
        *["https://other.example", "//other.example", "///other.example", "/\\other.example"],
        *["/\t/other.example", "\t//other.example", " //other.example", "other.example", ""],
        *["javascript:alert(1)", "http:other.example", "/\n/other.example"],
    ],
)
def test_login_leads_to_no_other_site(client: FlaskClient, target: str) -> None:
    """The login page redirects only to paths of this site."""
    form = {"name": "Ann", "password": DEMO_PASSWORD}
    response = client.post("/login", query_string={"next": target}, data=form)
    assert (response.status_code, response.location) == (302, "/")
    response = client.get("/login", query_string={"next": target})  # already logged in
    assert (response.status_code, response.location) == (302, "/")


def test_forms_need_a_csrf_token(database: Path) -> None:
    """A login or logout without a CSRF token gets a 400."""
    app = make_app(database, WTF_CSRF_ENABLED=True)
    client = app.test_client()
    form = {"name": "Ann", "password": DEMO_PASSWORD}
    assert client.post("/login", data=form).status_code == 400
    form["csrf_token"] = csrf_token(client.get("/login").text)
    assert client.post("/login", data=form).status_code == 302
    assert client.post("/logout").status_code == 400
    form["csrf_token"] = csrf_token(client.get("/budget").text)
    assert client.post("/logout", data=form).status_code == 302
    stop(app)


def csrf_token(page: str) -> str:
    match = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert match
    return match[1]


def test_passwords_are_hashed(app: Flask) -> None:
    """The database holds no password, and equal passwords have different hashes."""
    with app.app_context():
        hashes = db.session.scalars(db.select(User.password_hash)).all()
    assert len(set(hashes)) == 3
    assert not any(DEMO_PASSWORD in one for one in hashes)


def test_deleted_account_is_logged_out(app: Flask, log_in: LogIn) -> None:
    """The cookie of a deleted account does not open the budget, and breaks no page."""
    client = log_in("Ann")
    with app.app_context():
        db.session.delete(db.session.scalars(db.select(User).filter_by(name="Ann")).one())
        db.session.commit()
    assert client.get("/budget").status_code == 302
    assert "Log in" in client.get("/").text


def test_policy_has_the_nonce_of_its_page(client: FlaskClient) -> None:
    """Each response has a new nonce, in its policy and in all of its scripts."""
    first, second = client.get("/sea"), client.get("/sea")
    policy = first.headers["Content-Security-Policy"]
    match = re.search(r"'nonce-([\w-]{20,})'", policy)
    assert match
    # Browsers do not run blocks of data, so these need no nonce.
    scripts = re.findall(r"<script(?! type=\"application/json\")[^>]*>", first.text)
    assert scripts
    assert all(f'nonce="{match[1]}"' in script for script in scripts)
    assert match[1] not in second.text
