"""URLs of applications, of our blueprint and of the Bokeh server, as the client sees them."""

from __future__ import annotations

import re

from flask import request

from ..bokeh_api import embed
from ..errors import ServerStoppedError
from ..settings import Settings
from ..state import AppState

__all__ = ("application_url", "root_url", "server_url")


def application_url(settings: Settings, path: str) -> str:
    """Return the URL path of an application."""
    return embed.url_path(request.script_root, settings.url_prefix, path.rstrip("/"))


def root_url(settings: Settings) -> str:
    """Return the URL path of the blueprint, with a slash at the end."""
    return embed.url_path(request.script_root, settings.url_prefix, "/")


def server_url(state: AppState) -> str | None:
    """Return the URL of the Bokeh server for browsers; None if it has no port of its own."""
    if state.settings.transport == "same-origin":
        return None
    port = state.servers.get().port
    if port is None:
        raise ServerStoppedError("BOKEH_TRANSPORT is 'port', but the server is on a unix socket.")
    scheme = "https" if state.settings.ssl_certfile else "http"
    host = re.sub(r":\d+$", "", request.host)
    return embed.url_path(f"{scheme}://{host}:{port}")
