"""WebSocket clients that are no browsers, and raw sockets for what no browser would send."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import websocket

if TYPE_CHECKING:
    from .conftest import LiveServer


class Socket:
    """An open WebSocket to a session, after Bokeh's ACK."""

    def __init__(
        self, site: LiveServer, path: str, token: str, origin: str | None = None, query: str = ""
    ) -> None:
        self._socket = websocket.create_connection(
            f"{site.url.replace('http', 'ws', 1)}/bokeh{path}/ws?{query}",
            subprotocols=["bokeh", token],
            origin=origin or site.url,
            cookie=site.cookies.get(token),
            timeout=20,
            sslopt={"context": site.context} if site.context else None,
        )
        self.reason = ""
        """That the other side gave when it closed."""
        self.ack: dict[str, Any] = json.loads(self._socket.recv())
        self._socket.recv()
        self._socket.recv()

    def titles(self) -> list[str]:
        """The titles of the plots in the server's document."""
        return re.findall(r'"name":"Title".*?"text":"([^"]*)"', self._document())

    def send_big(self, size: int) -> str:
        """Send a message of so many bytes; the type of the answer."""
        event = {
            "kind": "ModelChanged",
            "model": {"id": self.model("Slider")},
            "attr": "title",
            "new": "x" * size,
        }
        self.send_message(json.dumps({"events": [event]}))
        return self.answer()

    def model(self, name: str) -> str:
        """The id of the document's only model of a class."""
        (found,) = re.findall(rf'"name":"{name}","id":"([^"]+)"', self._document())
        return str(found)

    def send_message(self, content: str, kind: str = "PATCH-DOC", *buffers: bytes) -> None:
        """Send a message whose content may be anything."""
        header = {"msgid": "2", "msgtype": kind, "num_buffers": len(buffers)}
        for part in (json.dumps(header), "{}", content):
            self._socket.send(part)
        for number, buffer in enumerate(buffers):
            self._socket.send(json.dumps({"id": str(number)}))
            self._socket.send_binary(buffer)

    def answer(self) -> str:
        """The type of the next message, which has no buffers."""
        kind = str(json.loads(self._socket.recv())["msgtype"])
        for _ in range(2):
            self._socket.recv()
        return kind

    def announce_big(self, size: int) -> tuple[int, str]:
        """Begin a message of so many bytes; code and reason with which it is refused."""
        self._socket.sock.sendall(b"\x81\xff" + struct.pack("!Q", size) + b"mask")
        _, data = self._socket.recv_data()
        return int(struct.unpack("!H", data[:2])[0]), data[2:].decode()

    def announce_many(self, count: int, size: int) -> int:
        """Send a message of many buffers, of so many bytes each; the code that ends it."""
        header = {"msgid": "2", "msgtype": "PATCH-DOC", "num_buffers": 10 * count}
        with suppress(OSError):
            for part in (header, {}, {"events": []}):
                self._socket.send(json.dumps(part))
            for number in range(count):
                self._socket.send(json.dumps({"id": str(number)}))
                self._socket.send_binary(b"x" * size)
        return self.close_code()

    def send_nonsense(self, size: int) -> int:
        """Send so many bytes for the header of a buffer; the code with which they are refused."""
        header = {"msgid": "2", "msgtype": "PATCH-DOC", "num_buffers": 1}
        for part in (json.dumps(header), "{}", '{"events": []}', "x" * size):
            self._socket.send(part)
        return self.close_code()

    def _document(self) -> str:
        """The server's document, as JSON."""
        for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
            self._socket.send(json.dumps(part))
        while (header := json.loads(self._socket.recv()))["msgtype"] != "PULL-DOC-REPLY":
            for _ in range(2 + 2 * header.get("num_buffers", 0)):
                self._socket.recv()
        self._socket.recv()
        return str(self._socket.recv())

    def close_code(self) -> int:
        """Read until the other side closes, and return its code."""
        while True:
            opcode, data = self._socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.reason = data[2:].decode()
                return int(struct.unpack("!H", data[:2])[0])

    def close(self) -> None:
        self._socket.close(timeout=2)
        self._socket.shutdown()  # close() leaves the descriptor once a close frame has come

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(
    site: LiveServer, path: str, token: str, origin: str | None = None, query: str = ""
) -> Socket:
    """Open a WebSocket with a token, as a page of the site would."""
    return Socket(site, path, token, origin, query)


@contextmanager
def open_sockets(site: LiveServer, page: str, path: str, count: int) -> Iterator[list[Socket]]:
    """So many pages, each with its socket open."""

    def one(_: int) -> Socket:
        return connect(site, path, site.token(page))

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        sockets = list(pool.map(one, range(count)))
        for socket in sockets:
            stack.enter_context(socket)
        yield sockets
