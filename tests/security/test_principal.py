"""Principals."""

from __future__ import annotations

from flask_bokeh.security.principal import Principal


def test_principal_without_user_and_cookie_has_no_identity() -> None:
    assert Principal(address="192.0.2.1").identity is None
