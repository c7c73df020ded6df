"""A Flask application for the live tests, with the settings that a test has chosen."""

from __future__ import annotations

import json
import os

from flask import Flask


def configured(name: str) -> Flask:
    """Make an application with a key, and the settings in ``SITE_CONFIG`` (JSON)."""
    app = Flask(name)
    app.secret_key = "a secret key for the tests only"
    app.config.update(json.loads(os.environ.get("SITE_CONFIG", "{}")))
    return app
