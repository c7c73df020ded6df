"""Principals."""

from __future__ import annotations

from flask_bokeh.security.principal import Principal


def test_asker() -> None:
    """Somebody without user and cookie has no identity to be bound to."""
    assert Principal(address="192.0.2.1").identity is None
