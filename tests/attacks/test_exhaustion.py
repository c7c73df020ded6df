"""Limits of the descriptors, memory and log space that one visitor can use."""

from __future__ import annotations

import json
import resource
import time
from contextlib import ExitStack, suppress
from typing import Any
from urllib.request import Request, urlopen

import pytest

from ..support.processes import Usage
from ..support.servers import Live, LiveServer
from ..support.sockets import connect
from ..support.visitors import Upgraded, Visitor
from ..support.waiting import eventually

APP = "tests.live_apps.guarded:create_app()"


def stats(visitor: Visitor) -> dict[str, Any]:
    """Return the counters of the site's process."""
    return dict(json.loads(visitor.get("/stats").text))


@pytest.mark.parametrize("page", ["/show/other", "/mine"])
def test_session_keeps_only_its_newest_four_sockets(live: Live, page: str) -> None:
    """A session keeps its newest four sockets, in any worker, and closes older ones."""
    site = live("gunicorn-gthread", APP, args=["--workers", "2"] if page == "/mine" else [])
    visitor = Visitor(site)
    token = visitor.token(page)
    with ExitStack() as stack:
        opened = [stack.enter_context(visitor.upgrade(token, "/other")) for _ in range(12)]
        assert [one.status for one in opened] == [101] * 12
        if page == "/mine":  # sockets may arrive in another order
            eventually(
                lambda: [one.alive for one in opened].count(True) == 4, "the older ones to close"
            )
            return
        assert [one.close_code() for one in opened[:8]] == [1008] * 8
        assert all(one.alive for one in opened[8:])


def test_plots_leave_descriptors_for_the_rest_of_the_site(live: Live) -> None:
    """Plots leave some file descriptors free, so the rest of the site keeps working."""
    site = live("gunicorn-gthread", APP, clean=False)
    visitor = Visitor(site)
    assert visitor.status(visitor.token()) == 101  # the Bokeh server has started
    before = stats(visitor)
    limit(before["pid"], before["descriptors"] + 60)
    with ExitStack() as stack:
        opened: list[Upgraded] = []
        while len(opened) < 80 and (not opened or opened[-1].status == 101):
            opened.append(stack.enter_context(visitor.upgrade(visitor.token())))
        assert opened[-1].status == 503
        assert opened[-1].sock.recv(1000) == b"This site is busy. Please try again in a moment.\n"
        assert 10 < len(opened) < 40
        assert visitor.get("/plain").text == "plain"
        assert stats(visitor)["descriptors"] < before["descriptors"] + 40
    site.until_logged("or lower BOKEH_MAX_SESSIONS")
    eventually(lambda: visitor.status(visitor.token()) == 101, "free descriptors")


def test_flask_bokeh_run_recovers_from_lack_of_descriptors(live: Live) -> None:
    """flask bokeh run does not spin without free descriptors, and recovers afterwards."""
    site = live("flask-bokeh-run", APP, clean=False)
    visitor = Visitor(site)
    before = stats(visitor)
    limit(before["pid"], before["descriptors"] + 10)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(site.open_connection())
        lines, used = len(site.log), Usage.of(before["pid"]).cpu
        time.sleep(1)  # the server should be idle
        assert Usage.of(before["pid"]).cpu - used < 0.5
        assert len(site.log) - lines < 1000
    eventually(lambda: visitor.get("/plain").text == "plain", "an answer")
    assert "Traceback" not in site.log


@pytest.mark.parametrize("announced", [b"Content-Length: 15000000", b"Transfer-Encoding: chunked"])
def test_unfinished_bodies_use_bounded_memory(live: Live, announced: bytes) -> None:
    """Unfinished bodies use bounded memory in total; forms and pages still work meanwhile."""
    site = live("flask-bokeh-run", clean=False)
    pid = site.stats()["pid"]
    before = Usage.of(pid).memory
    megabyte = b"x" * 1_000_000
    if b"chunked" in announced:
        megabyte = b"F4240\r\n" + megabyte + b"\r\n"
    statuses = []
    with ExitStack() as stack:
        for _ in range(40):  # 14 MB each
            sock = stack.enter_context(site.open_connection())
            with suppress(ConnectionError):
                sock.sendall(b"POST /length HTTP/1.1\r\nHost: site\r\n" + announced + b"\r\n\r\n")
                for _ in range(14):
                    sock.sendall(megabyte)
            sock.settimeout(0.1)
            with suppress(ConnectionError, TimeoutError):
                statuses.append(sock.recv(12))
        assert Usage.of(pid).memory - before < 150
        assert statuses
        assert set(statuses) <= {b"HTTP/1.1 503", b""}  # a reset may destroy the response
        form = Request(f"{site.url}/length", b"x" * 60_000)
        with urlopen(form, timeout=60) as answer:
            assert answer.read() == b"60000"
        assert "plain" in site.get("/")
    site.until_logged("Refused a request with a body")

    def uploaded() -> bool:
        with suppress(OSError), urlopen(upload, timeout=60) as answer:
            return bool(answer.read() == b"15000000")
        return False

    upload = Request(f"{site.url}/length", b"x" * 15_000_000)
    for _ in range(8):  # finished requests use no memory
        eventually(uploaded, "memory for an upload")
    assert "Traceback" not in site.log


@pytest.fixture(scope="module")
def small_messages_site(module_live: Live) -> LiveServer:
    """A site with a low limit on the size of a message."""
    config = {"BOKEH_MAX_MESSAGE_SIZE": 1_000_000}
    return module_live("gunicorn-sync", config=config, clean=False)


def test_size_of_a_message_includes_all_of_its_frames(small_messages_site: LiveServer) -> None:
    """BOKEH_MAX_MESSAGE_SIZE applies to the whole message, not to each frame."""
    site = small_messages_site
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        for _ in range(3):  # several messages within the limit are accepted
            assert client.send_big(600_000) == "OK"
        assert client.announce_many(4, 400_000) == 1009
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        assert client.announce_many(2000, 0) == 1009
    site.until_logged("larger than BOKEH_MAX_MESSAGE_SIZE allows")
    assert "Traceback" not in site.log


def test_invalid_message_is_truncated_in_the_log(small_messages_site: LiveServer) -> None:
    """Bokeh's log record of an invalid message is truncated to a few lines."""
    site = small_messages_site
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        assert client.send_nonsense(900_000) == 1011
    site.until_logged("(900,00")
    assert len(site.log) < 20_000


def limit(pid: int, descriptors: int) -> None:
    """Limit the descriptors of a process."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
