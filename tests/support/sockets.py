"""WebSocket clients without a browser, which can also send invalid messages."""

from __future__ import annotations

import json
import re
import select
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .messages import changed, clicked
from .waiting import TIMEOUT

if TYPE_CHECKING:
    from .servers import LiveServer


class RefusedError(Exception):
    """The site refused to open a WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Socket:
    """An open WebSocket to a session, after Bokeh's ACK."""

    def __init__(
        self, site: LiveServer, path: str, token: str, origin: str | None = None, query: str = ""
    ) -> None:
        import websocket

        try:
            self._socket = websocket.create_connection(
                f"{site.url.replace('http', 'ws', 1)}/bokeh{path}/ws?{query}",
                subprotocols=["bokeh", token],
                origin=origin or site.url,
                cookie=site.cookies.get(token),
                timeout=TIMEOUT,
                sslopt={"context": site.context} if site.context else None,
            )
        except websocket.WebSocketBadStatusException as error:
            raise RefusedError(error.status_code) from error
        self._buffers: dict[str, bytes] = {}
        self.ack: dict[str, Any] = json.loads(self._socket.recv())
        self._socket.recv()
        self._socket.recv()

    def models(self) -> dict[str, dict[str, Any]]:
        """Return the named models of the server's document, as JSON."""
        return self._models_by("name")

    def _models_by(self, attribute: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        waiting: list[Any] = [json.loads(self._document())]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                if "id" in one and attribute in (attributes := one.get("attributes", {})):
                    found[attributes[attribute]] = one
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
        return found

    def ids(self) -> dict[str, str]:
        """Return the IDs of the named models."""
        return {name: str(model["id"]) for name, model in self.models().items()}

    def data(self, name: str) -> dict[str, list[Any]]:
        """Return the columns of a named source."""
        columns = self.models()[name]["attributes"]["data"]["entries"]
        return {key: self._column(value) for key, value in columns}

    def _column(self, value: Any) -> list[Any]:
        if isinstance(value, list):
            return value
        if "entries" in value:
            return list(value["entries"])
        assert value["type"] == "ndarray", value
        if isinstance(array := value["array"], list):
            return array
        if "entries" in array:
            return list(array["entries"])
        buffer = self._buffers[array["data"]["id"]]
        return list(np.frombuffer(buffer, value["dtype"]).reshape(value["shape"]).tolist())

    def send(self, *parts: Any) -> None:
        """Send the parts of a message."""
        for part in parts:
            self._socket.send(json.dumps(part))

    def change(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Send changes in one message; return the answer and the messages before it."""
        self.send({"msgid": "2", "msgtype": "PATCH-DOC"}, {}, {"events": events})
        before: list[Any] = []
        while True:
            header, text = self.receive()
            content = json.loads(text)
            if header["msgtype"] in ("OK", "ERROR"):
                return {**content, "type": header["msgtype"], "before": before}
            before.append(content)

    def press(self, label: str) -> None:
        """Press the document's button with a label."""
        button = self._models_by("label")[label]["id"]
        assert (answer := self.change(clicked(button)))["type"] == "OK", answer

    def titles(self) -> list[str]:
        """Return the titles of the plots in the server's document."""
        return re.findall(r'"name":"Title".*?"text":"([^"]*)"', self._document())

    def send_big(self, size: int) -> str:
        """Send a message of a size; return the type of the answer."""
        event = changed(self.model("Slider"), "x" * size, "title")
        self.send_message(json.dumps({"events": [event]}))
        return self.answer()

    def model(self, name: str) -> str:
        """Return the ID of the document's only model of a class."""
        (found,) = re.findall(rf'"name":"{name}","id":"([^"]+)"', self._document())
        return str(found)

    def send_message(self, content: str, kind: str = "PATCH-DOC", *buffers: bytes) -> None:
        """Send a message with any content."""
        header = {"msgid": "2", "msgtype": kind, "num_buffers": len(buffers)}
        for part in (json.dumps(header), "{}", content):
            self._socket.send(part)
        for number, buffer in enumerate(buffers):
            self._socket.send(json.dumps({"id": str(number)}))
            self._socket.send_binary(buffer)

    def answer(self) -> str:
        """Return the type of the next message, which has no buffers."""
        kind = str(json.loads(self._socket.recv())["msgtype"])
        for _ in range(2):
            self._socket.recv()
        return kind

    def announce_big(self, size: int) -> tuple[int, str]:
        """Begin a message of a size; return the code and the reason of its refusal."""
        self._socket.sock.sendall(b"\x81\xff" + struct.pack("!Q", size) + b"mask")
        _, data = self._socket.recv_data()
        return int(struct.unpack("!H", data[:2])[0]), data[2:].decode()

    def begin_frame(self, size: int) -> None:
        """Send a frame of a size without its last byte."""
        head = b"\x81\xff" + struct.pack("!Q", size) + bytes(4)
        self._socket.sock.sendall(head + b"x" * (size - 1))

    def is_sent_something(self) -> bool:
        """Return True if there is something to receive."""
        assert self._socket.sock is not None
        return bool(select.select([self._socket.sock], [], [], 0)[0])

    def announce_many(self, count: int, size: int) -> int:
        """Send a message of many buffers, each of a size; return the close code."""
        header = {"msgid": "2", "msgtype": "PATCH-DOC", "num_buffers": 10 * count}
        with suppress(OSError):
            self.send(header, {}, {"events": []})
            for number in range(count):
                self._socket.send(json.dumps({"id": str(number)}))
                self._socket.send_binary(b"x" * size)
        return self.close_code()

    def send_nonsense(self, size: int) -> int:
        """Send text of a size as the header of a buffer; return the close code."""
        header = {"msgid": "2", "msgtype": "PATCH-DOC", "num_buffers": 1}
        for part in (json.dumps(header), "{}", '{"events": []}', "x" * size):
            self._socket.send(part)
        return self.close_code()

    def _document(self) -> str:
        """Return the server's document, as JSON."""
        self.send({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {})
        while True:
            header, content = self.receive()
            assert header["msgtype"] != "ERROR", content
            if header["msgtype"] == "PULL-DOC-REPLY":
                return content

    def receive(self) -> tuple[dict[str, Any], str]:
        """Return header and content of the next message; keep its buffers."""
        header = json.loads(self._socket.recv())
        self._socket.recv()
        content = str(self._socket.recv())
        self._buffers = {}
        for _ in range(header.get("num_buffers", 0)):
            name = json.loads(self._socket.recv())["id"]
            self._buffers[name] = bytes(self._socket.recv())  # type: ignore[arg-type,unused-ignore]
        return header, content

    def close_code(self) -> int:
        """Read until the other side closes, and return its code."""
        return self.close_reason()[0]

    def close_reason(self) -> tuple[int, str]:
        """Return the close code and the reason."""
        from websocket import ABNF

        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            # Return for the server's pings, too: they would prolong the wait for ever.
            opcode, data = self._socket.recv_data(control_frame=True)
            if opcode == ABNF.OPCODE_CLOSE:
                return int(struct.unpack("!H", data[:2])[0]), data[2:].decode()
        raise TimeoutError(f"The WebSocket was not closed within {TIMEOUT} s.")

    def close(self) -> None:
        self._socket.close(timeout=2)
        # close() leaves the descriptor once a close frame has come
        self._socket.shutdown()  # type: ignore[no-untyped-call,unused-ignore]

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(
    site: LiveServer, path: str, token: str, origin: str | None = None, query: str = ""
) -> Socket:
    """Open a WebSocket with a token, as a page of the site would.

    :raises RefusedError: if the site answers with another status than 101.
    """
    return Socket(site, path, token, origin, query)


@contextmanager
def open_sockets(site: LiveServer, page: str, path: str, count: int) -> Iterator[list[Socket]]:
    """Yield a number of sockets, each opened with a page of its own."""

    def one(_: int) -> Socket:
        return connect(site, path, site.token(page))

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        sockets = list(pool.map(one, range(count)))
        for socket in sockets:
            stack.enter_context(socket)
        yield sockets
