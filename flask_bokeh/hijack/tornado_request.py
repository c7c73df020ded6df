"""Hijack a request of Tornado's own server: ``flask bokeh run``."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

from .connection import Adopter
from .upgrade_request import UpgradeRequest

__all__ = ("TornadoRequestHijack",)


class TornadoRequestHijack:
    """Pass a request from one Tornado server to another on the same loop.

    The connection stays where it is. The first server answers the request itself if the connection
    has not been committed when the WSGI application returns.
    """

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request

    def fileno(self) -> int:
        assert self._request.connection is not None
        client = self._request.connection.stream.socket  # type: ignore[attr-defined]
        return -1 if client is None else int(client.fileno())

    async def hand_to(self, server: Adopter, upgrade: UpgradeRequest) -> None:
        server.adopt_request(self._request, upgrade)

    def restore(self) -> None:
        """Do nothing: the first server answers."""

    def close(self) -> None:
        """Do nothing: the first server closes its connections."""

    async def until_released(self) -> None:
        """Return at once: there is no placeholder."""

    def release_wsgi_server(self) -> None:
        """Do nothing: there is no placeholder."""
