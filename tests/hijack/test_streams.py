"""Hijacked sockets: big messages, clients that never read, legal close codes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from tornado.iostream import StreamClosedError

from flask_bokeh.hijack import lingering_close as lingering
from flask_bokeh.hijack import stream as streams
from flask_bokeh.hijack.close_frames import close_frame
from flask_bokeh.hijack.stream import websocket_stream

from ..support.servers import Live
from ..support.sockets import connect


def test_message_within_the_limit_is_accepted(live: Live) -> None:
    """A client's message of 30 MB is accepted if BOKEH_MAX_MESSAGE_SIZE allows it."""
    site = live("gunicorn-gthread", config={"BOKEH_MAX_MESSAGE_SIZE": 40 * 1024 * 1024})
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        assert client.send_big(30_000_000) == "OK"


def test_message_over_the_limit_is_refused(live: Live) -> None:
    """A message over the limit is refused with a reason, and the log names the setting."""
    site = live("gunicorn-gthread", clean=False)
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        assert client.announce_big(30_000_000) == (1009, "the message is too large")
    site.until_logged("larger than BOKEH_MAX_MESSAGE_SIZE allows")
    assert "Traceback" not in site.log


def answer(frame: bytes) -> bytes:
    """Return the bytes that a client receives for a frame written to a stream."""

    async def write() -> bytes:
        ours, theirs = socket.socketpair()
        stream = websocket_stream(theirs, b"", max_write_buffer_size=1000, on_close=lambda _: None)
        await stream.write(frame)
        stream.close()
        with ours:
            return ours.recv(200)

    return asyncio.run(write())


@pytest.mark.parametrize(
    ("code", "legal"), [(10000, 1011), (10001, 1002), (1000, 1000), (1001, 1001)]
)
def test_illegal_close_codes_are_replaced(code: int, legal: int) -> None:
    """Bokeh's close codes that RFC 6455 does not allow are replaced by legal ones."""
    assert answer(close_frame(code, "why")) == close_frame(legal, "why")


def test_other_frames_are_unchanged() -> None:
    """Data, pings and an empty close frame are written unchanged."""
    for frame in (b"\x81\x03abc", b"\x82\x00", b"\x89\x01a", b"\x88\x00", b"\x88"):
        assert answer(frame) == frame


def test_client_that_never_reads_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """A client that does not read is closed when its write buffer exceeds the limit."""

    async def fill() -> None:
        ours, theirs = socket.socketpair()
        forgotten = asyncio.Event()
        stream = websocket_stream(
            theirs, b"", max_write_buffer_size=1_000_000, on_close=lambda _: forgotten.set()
        )
        with ours:
            for _ in range(50):
                if stream.closed():
                    break
                with suppress(StreamClosedError):
                    stream.write(b"x" * 100_000)
            assert stream.closed()
            await asyncio.wait_for(forgotten.wait(), 5)

    asyncio.run(fill())
    assert "a client that does not read" in caplog.text


def test_client_that_stops_reading_is_closed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing for a while is closed; one that reads slowly is not."""
    monkeypatch.setattr(streams, "STALL_TIMEOUT", 0.2)

    async def slow(reads: bool) -> bool:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = websocket_stream(theirs, b"", max_write_buffer_size=10**8, on_close=lambda _: None)
        written = stream.write(b"x" * 2_000_000)
        written.add_done_callback(lambda future: future.exception())
        loop = asyncio.get_running_loop()
        with ours:
            for _ in range(10):
                await asyncio.sleep(0.1)  # the time under test
                if reads and not stream.closed():
                    await loop.sock_recv(ours, 200_000)
            closed = stream.closed()
            stream.close()
            return closed

    assert asyncio.run(slow(reads=False))
    assert "it read nothing for 0.2 s" in caplog.text
    assert not asyncio.run(slow(reads=True))


@pytest.mark.parametrize("reads", [True, False])
def test_client_that_still_sends_gets_the_close_code(
    monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """Data still being sent is drained for a while, so the client gets the close frame."""
    if not reads:
        monkeypatch.setattr(lingering, "TIMEOUT", 0.1)

    async def close_while_it_sends() -> bytes:
        forgotten = asyncio.Event()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname(), timeout=60)
            theirs, _ = listening.accept()
        stream = websocket_stream(
            theirs, b"", max_write_buffer_size=1000, on_close=lambda _: forgotten.set()
        )
        with client:
            client.sendall(b"x" * 100_000)
            await stream.write(close_frame(1009))
            stream.close()
            if reads:
                await asyncio.to_thread(client.sendall, b"x" * 20_000_000)
                received = await asyncio.to_thread(client.recv, 200)
                assert await asyncio.to_thread(client.recv, 200) == b""
                client.close()
            else:  # the client keeps the socket open, as a child process might
                received = b""
            await asyncio.wait_for(forgotten.wait(), 20)
            return received

    received = asyncio.run(close_while_it_sends())
    assert received[2:4] == ((1009).to_bytes(2, "big") if reads else b"")
