"""Flask and Bokeh on one Tornado server, one port and one loop: ``flask bokeh run``.

For Windows, and for who wants no other server. The WSGI application runs in a bounded pool of
threads; an upgrade request goes through Flask like any other, and when a view of ours has let
it in, its connection goes to Bokeh's own server on the same loop.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets, ssl_wrap_socket
from tornado.wsgi import WSGIContainer
from werkzeug.test import run_wsgi_app

from ..runtime.acceptor import Acceptor
from ..runtime.loop import finishes_within
from .adapters import TORNADO_REQUEST_KEY
from .connection import HijackedRequest
from .request_bodies import BodyReader
from .stream import prefixed_stream

__all__ = ("TornadoWSGIServer",)

logger = logging.getLogger("flask_bokeh")

_HOST = re.compile(r"([^\s,/@?#:\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_IDLE = 75.0
"""Seconds that a connection is kept for the next request, or for the whole of a request's body."""
_BODIES = 64 * 1024 * 1024
"""Bytes that the bodies of all requests may take together; two of the largest in any case."""

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


class TornadoWSGIServer:
    """A Tornado server for a WSGI application. Only on the thread of its loop."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        max_body_size: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        :param threads: how many requests are served at once.
        :param max_body_size: bytes of a request's body, which is kept in memory.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="flask")
        self.tls = tls
        self._container = _Container(application, self._pool, threads)
        self._http = HTTPServer(
            BodyReader(
                self._container.handle_request,
                self._container.refuse_body,
                max(_BODIES, 2 * max_body_size),
            ),
            idle_connection_timeout=_IDLE,
            body_timeout=_IDLE,
            max_body_size=max_body_size,
        )
        self._listening: list[Acceptor] = []

    def listen(self, port: int, address: str) -> int:
        """Start to listen, and return the port: 0 asks for a free one.

        :raises OSError: if that can't be done, for instance because the port is taken.
        """
        sockets = bind_sockets(port, address or None)
        loop = asyncio.get_running_loop()
        self._listening = [Acceptor(loop, one, self._accept) for one in sockets]
        return int(sockets[0].getsockname()[1])

    async def stop(self, timeout: float) -> None:
        """Accept nobody any more, and finish what is being answered, for so many seconds."""
        for listening in self._listening:
            listening.close()
        if not await finishes_within(self._container.until_idle(), timeout):
            logger.warning("Requests were not answered within %g s, and were cut off.", timeout)
        await finishes_within(self._http.close_all_connections(), timeout)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _accept(self, client: socket.socket, address: Any) -> None:
        if self.tls is not None:
            client = ssl_wrap_socket(
                client, self.tls, server_side=True, do_handshake_on_connect=False
            )
        try:
            stream = prefixed_stream(
                client, b"", max_write_buffer_size=2**30, on_close=lambda _: None
            )
        except (OSError, StreamClosedError):  # it has gone again
            return
        stream.is_websocket = False
        self._http.handle_stream(stream, address)


class _Container(WSGIContainer):
    """Tornado's own, with upgrades, errors that answer, and a limit to what waits."""

    def __init__(
        self, application: WSGIApplication, pool: ThreadPoolExecutor, threads: int
    ) -> None:
        super().__init__(application, executor=pool)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._most = 100 * threads

    async def until_idle(self) -> None:
        await self._idle.wait()

    async def handle_request(self, request: HTTPServerRequest) -> None:
        if not _HOST.fullmatch(request.host):  # Tornado would raise, and answer nothing
            _answer(request, 400, [("Connection", "close")], b"The Host header is malformed.\n")
            return
        if self._running >= self._most:
            _answer(request, 503, [], b"Too many requests are waiting.\n")
            return
        self._running += 1
        self._idle.clear()
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                await self._upgrade(request)
            else:
                await super().handle_request(request)
        except StreamClosedError:
            pass  # the client has gone
        except Exception:
            logger.exception("A request could not be answered.")
            with suppress(Exception):
                _answer(request, 400, [("Connection", "close")], b"")
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    @staticmethod
    def refuse_body(request: HTTPServerRequest) -> None:
        """Answer a request whose body has no room, and end its connection."""
        _answer(request, 503, [("Connection", "close")], b"Too many uploads at a time.\n")

    async def _upgrade(self, request: HTTPServerRequest) -> None:
        environ = self.environ(request)
        taken = environ[TORNADO_REQUEST_KEY] = HijackedRequest(request)
        loop = asyncio.get_running_loop()
        body, status, headers = await loop.run_in_executor(
            self.executor, lambda: run_wsgi_app(self.wsgi_application, environ, buffered=True)
        )
        if not taken.committed:  # else Bokeh's server answers and logs
            code = int(status.split(" ")[0])
            _answer(request, code, headers.to_wsgi_list(), b"".join(body))
            self._log(code, request)

    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        for name in list(request.headers):
            if "_" in name:  # it would pass for the one with a hyphen, which a proxy sets
                del request.headers[name]
        environ = super().environ(request)
        environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body has been read
        length = {"CONTENT_LENGTH": str(len(request.body))} if request.body else {}
        return {
            **environ,
            **length,
            "SERVER_SOFTWARE": "flask bokeh run",
            TORNADO_REQUEST_KEY: None,
        }


def _answer(
    request: HTTPServerRequest, status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    assert request.connection is not None
    fields = HTTPHeaders()
    for name, value in headers:
        fields.add(name, value)
    fields["Content-Length"] = str(len(body))
    start_line = ResponseStartLine("HTTP/1.1", status, "")
    request.connection.write_headers(start_line, fields, chunk=body)
    request.connection.finish()
