"""Upgrade requests for Flask's test client."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient


def upgrade(site: FlaskClient, path: str, token: str, **headers: str) -> Any:
    base = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Origin": "http://localhost",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"bokeh, {token}",
    }
    merged = {**base, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return site.get(path, headers={name: value for name, value in merged.items() if value})
