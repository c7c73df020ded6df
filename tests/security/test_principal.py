"""Principals."""

from __future__ import annotations

from flask_bokeh.visits import Asker


def test_asker() -> None:
    """Somebody without user and cookie has no identity to be bound to."""
    assert Asker(address="192.0.2.1").identity is None
