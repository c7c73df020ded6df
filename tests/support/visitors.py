"""Visitors with cookies, which send upgrade requests with any head."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING

from .html import tokens_in
from .waiting import TIMEOUT

if TYPE_CHECKING:
    from .servers import LiveServer


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **keywords: object) -> None:
        return None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Upgraded:
    """The response to an upgrade request; the socket is open if it is a 101."""

    status: int
    head: str
    sock: socket.socket = field(repr=False)

    def close_code(self, seconds: float = TIMEOUT) -> int:
        """Read until the other side closes; return the code of its close frame, or 0."""
        from wsproto.frame_protocol import FrameProtocol, Opcode

        frames = FrameProtocol(client=True, extensions=[])
        self.sock.settimeout(seconds)
        code = 0
        with suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                frames.receive_bytes(data)
                for frame in frames.received_frames():
                    if frame.opcode is Opcode.CLOSE:
                        code = int(frame.payload[0])
        return code

    @property
    def alive(self) -> bool:
        """True if the other side has not closed."""
        self.sock.settimeout(0.2)
        try:
            while True:
                if not self.sock.recv(65536):
                    return False
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Upgraded:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Visitor:
    """A client with the cookies of one browser."""

    def __init__(self, site: LiveServer) -> None:
        self.site = site
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), _NoRedirects
        )

    def get(self, path: str, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.site.url + path, headers=names)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                text = response.read().decode()
                return Answer(response.status, dict(response.headers), text)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())

    def log_in(self, name: str) -> Visitor:
        assert self.get(f"/login/{name}").status == 200
        return self

    def token(self, page: str = "/show/open") -> str:
        answer = self.get(page)
        assert answer.status == 200, answer
        return tokens_in(answer.text)[0]

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    def head(self, token: str, path: str = "/open", **replace: str | None) -> bytes:
        """Return the head of a valid upgrade request with some lines replaced or left out."""
        headers: dict[str, str | None] = {
            "Host": self.site.address,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Origin": self.site.url,
            "Cookie": self.cookies or None,
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"bokeh, {token}",
            **{name.replace("_", "-"): value for name, value in replace.items()},
        }
        lines = [f"GET /bokeh{path}/ws HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def upgrade(self, token: str, path: str = "/open", **replace: str | None) -> Upgraded:
        """Send an upgrade request; the status is 0 if the server closes without a response."""
        return self.send(self.head(token, path, **replace))

    def send(self, head: bytes) -> Upgraded:
        sock = self.site.open_connection()
        answer = b""
        with suppress(ConnectionError):
            sock.sendall(head)
            while b"\r\n\r\n" not in answer and (byte := sock.recv(1)):
                answer += byte
        words = answer.split(b" ", 2)
        status = int(words[1]) if len(words) > 2 else 0
        return Upgraded(status, answer.decode("latin-1"), sock)

    def status(self, token: str, path: str = "/open", **replace: str | None) -> int:
        """Return the status of an upgrade request and close the socket."""
        with self.upgrade(token, path, **replace) as upgraded:
            return upgraded.status
