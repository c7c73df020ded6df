"""Serve Flask and Bokeh with one Tornado server, on one port and one loop: ``flask bokeh run``.

It is for Windows, and for sites that need no other server. The WSGI application runs in a bounded
pool of threads. An upgrade request goes through Flask like any other request; if the view accepts
it, the connection goes to Bokeh's server on the same loop.
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
from http import HTTPStatus
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets, ssl_wrap_socket
from tornado.wsgi import WSGIContainer
from werkzeug.test import run_wsgi_app

from ..runtime.acceptor import Acceptor
from ..runtime.tasks import finishes_within
from .adapters import TORNADO_REQUEST_KEY
from .connection import HijackedConnection
from .request_bodies import BodyReader
from .stream import http_stream
from .tornado_request import TornadoRequestHijack

__all__ = ("TornadoWSGIServer",)

logger = logging.getLogger("flask_bokeh")

_HOST = re.compile(r"([^\s,/@?#:\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_IDLE_TIMEOUT = 75.0
"""Seconds in which the next request on a connection, or the whole body of a request, must come."""
_MAX_BODIES_SIZE = 64 * 1024 * 1024
"""Bytes that the bodies of all requests may take together. Two bodies of the maximum size are
possible in any case."""
_MAX_WAITING_PER_THREAD = 100
"""Requests that may wait or run, for each thread."""

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


class TornadoWSGIServer:
    """A Tornado server for a WSGI application. Only on its loop's thread."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        max_body_size: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        :param threads: number of requests that are served at a time.
        :param max_body_size: bytes that the body of a request may have; it is kept in memory.
        :param tls: see :attr:`tls`.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="flask")
        self.tls = tls
        """Context for HTTPS; None for HTTP."""
        self._container = _BoundedContainer(application, self._pool, threads)
        self._http = HTTPServer(
            BodyReader(
                self._container.handle_request,
                self._container.refuse_body,
                max(_MAX_BODIES_SIZE, 2 * max_body_size),
            ),
            idle_connection_timeout=_IDLE_TIMEOUT,
            body_timeout=_IDLE_TIMEOUT,
            max_body_size=max_body_size,
        )
        self._acceptors: list[Acceptor] = []

    def listen(self, port: int, address: str) -> int:
        """Start to listen, and return the port.

        :param port: the port; 0 for any free one.
        :param address: a host name or IP address; an empty text for all interfaces.
        :raises OSError: if the port cannot be used, for example because it is in use.
        """
        sockets = bind_sockets(port, address or None)
        loop = asyncio.get_running_loop()
        self._acceptors = [Acceptor(loop, one, self._accept) for one in sockets]
        return int(sockets[0].getsockname()[1])

    async def stop(self, timeout: float) -> None:
        """Stop to listen, and finish the requests that are running.

        :param timeout: seconds after which running requests are cut off.
        """
        for acceptor in self._acceptors:
            acceptor.close()
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
            stream = http_stream(client)
        except (OSError, StreamClosedError):  # the client has disconnected already
            return
        self._http.handle_stream(stream, address)


class _BoundedContainer(WSGIContainer):
    """Tornado's WSGI container with upgrade requests, error responses and a limit of requests."""

    def __init__(
        self, application: WSGIApplication, pool: ThreadPoolExecutor, threads: int
    ) -> None:
        super().__init__(application, executor=pool)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._max_requests = _MAX_WAITING_PER_THREAD * threads

    async def until_idle(self) -> None:
        """Wait until no request is running."""
        await self._idle.wait()

    async def handle_request(self, request: HTTPServerRequest) -> None:
        """Answer a request with the WSGI application's response, or with an error."""
        if not _HOST.fullmatch(request.host):  # Tornado would raise and send no answer
            _answer(
                request,
                HTTPStatus.BAD_REQUEST,
                [("Connection", "close")],
                b"The Host header is malformed.\n",
            )
            return
        if self._running >= self._max_requests:
            _answer(
                request, HTTPStatus.SERVICE_UNAVAILABLE, [], b"Too many requests are waiting.\n"
            )
            return
        self._running += 1
        self._idle.clear()
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                await self._upgrade(request)
            else:
                await super().handle_request(request)
        except StreamClosedError:
            pass  # the client has disconnected
        except Exception:
            logger.exception("A request could not be answered.")
            with suppress(Exception):
                _answer(request, HTTPStatus.BAD_REQUEST, [("Connection", "close")], b"")
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    @staticmethod
    def refuse_body(request: HTTPServerRequest) -> None:
        """Answer a request whose body exceeds the limit, and close its connection."""
        _answer(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            [("Connection", "close")],
            b"Too many uploads at a time.\n",
        )

    async def _upgrade(self, request: HTTPServerRequest) -> None:
        environ = self.environ(request)
        connection = HijackedConnection(TornadoRequestHijack(request))
        environ[TORNADO_REQUEST_KEY] = connection
        loop = asyncio.get_running_loop()
        body, status, headers = await loop.run_in_executor(
            self.executor, lambda: run_wsgi_app(self.wsgi_application, environ, buffered=True)
        )
        if not connection.committed:  # otherwise Bokeh's server answers and logs
            code = int(status.split(" ")[0])
            _answer(request, code, headers.to_wsgi_list(), b"".join(body))
            self._log(code, request)

    def environ(self, request: HTTPServerRequest) -> dict[str, Any]:
        """Return the WSGI environ of a request."""
        for name in list(request.headers):
            if "_" in name:  # WSGI could not tell it from the one with a hyphen, set by a proxy
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
