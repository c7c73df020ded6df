"""The extension, in a file of its own, so that plots and views can both import it."""

from __future__ import annotations

from flask import has_request_context, session

from flask_bokeh import FlaskBokeh

bokeh = FlaskBokeh()

USERS = {
    "ann": {"name": "Ann", "species": "Gentoo", "wave": {"amplitude": 2.0, "frequency": 1.0}},
    "bob": {"name": "Bob", "species": "Adelie", "wave": {"amplitude": 0.5, "frequency": 3.0}},
    "carla": {
        "name": "Carla",
        "species": "Chinstrap",
        "wave": {"amplitude": 4.0, "frequency": 0.5},
    },
}
"""Who may be chosen in the header, and what they like. A real site has a database."""


@bokeh.user_loader
def current_user() -> str | None:
    """Say who is asking: here, whoever was chosen in the header."""
    user = session.get("user") if has_request_context() else None
    return user if user in USERS else None
