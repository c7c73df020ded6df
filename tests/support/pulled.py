"""Helpers that inspect the server of pulled sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.document import Document
from flask import Flask

from flask_bokeh import PulledSession
from flask_bokeh.server.in_process import InProcessServer

TRANSPORTS = ["direct", "client"]


def server_of(site: Flask) -> InProcessServer:
    server = site.extensions["bokeh"].servers.get()
    assert isinstance(server, InProcessServer)
    return server


def server_document(site: Flask, session: PulledSession) -> Document:
    found = server_of(site).find_session(session.path, session.id)
    assert found is not None
    return found.document


def on_loop(site: Flask, work: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return work()

    return server_of(site).loop.call(run, what="a test", timeout=60)


def live_sessions(site: Flask) -> int:
    """Return the number of sessions that are not about to be discarded by Bokeh."""
    server = site.extensions["bokeh"].servers.running()
    found = server.bokeh.get_sessions()
    return len([session for session in found if not session.expiration_requested])
