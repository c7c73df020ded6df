"""Small but costly messages, and large legitimate ones, sent to live servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from ..support.attacks import ATTACKS
from ..support.messages import changed
from ..support.processes import Usage
from ..support.servers import Live, LiveServer
from ..support.sockets import Socket, connect
from ..support.waiting import eventually


@cache
def attack(name: str) -> str:
    """Return a message of support/attacks.py; cached, as compressing some takes seconds."""
    return ATTACKS[name]()


@pytest.fixture(scope="module")
def limited(module_live: Live) -> LiveServer:
    """A site with low limits; its log holds refusals."""
    limits = {"BOKEH_MAX_MESSAGE_SIZE": 60_000, "BOKEH_MAX_NEW_MODELS": 5}
    return module_live(clean=False, config=limits)


@pytest.fixture(scope="module")
def strict(module_live: Live) -> LiveServer:
    """A site that accepts only one new model, and whose log stays clean."""
    return module_live(config={"BOKEH_MAX_NEW_MODELS": 1})


@contextmanager
def session(site: LiveServer) -> Iterator[Socket]:
    """Open a session of a small document."""
    with connect(site, "/tiny", site.token("/tiny/direct")) as client:
        yield client


def peak(site: LiveServer) -> float:
    """Return the peak memory of the server's process, in MB."""
    return Usage.of(site.stats()["pid"]).peak


@pytest.mark.parametrize("kind", ["gunicorn-gthread", "flask-bokeh-run"])
def test_costly_messages_are_refused_and_block_nobody(live: Live, kind: str) -> None:
    """Each costly message is refused with 1009, uses little memory and blocks no other visitor."""
    site = live(kind, clean=False)
    with session(site) as client:
        assert client.send_big(1_000_000) == "OK"
    before = peak(site)
    for name in ATTACKS:
        with session(site) as client:
            client.send_message(attack(name))
            reason = "the message asks for more than one message may"
            assert client.close_reason() == (1009, reason), name
    with session(site) as client:
        assert client.send_big(1000) == "OK"
    assert peak(site) - before < 64
    site.until_logged("sent too costly a message")
    assert "Traceback" not in site.log
    assert len(site.log) < 20_000


@pytest.mark.parametrize("kind", ["numbers with one hash", "300,000 lists"])
def test_refused_messages_are_freed_from_memory(live: Live, kind: str) -> None:
    """A refused message is freed from memory even while its client stays connected."""
    site = live(clean=False)
    message = attack(kind)
    with ExitStack() as stack:
        clients = [stack.enter_context(session(site)) for _ in range(40)]
        clients[0].send_message(message)
        assert clients[0].close_code() == 1009
        before = peak(site)
        for client in clients[1:]:
            client.send_message(message)
            assert client.close_code() == 1009
        assert peak(site) - before < 20
    assert "Traceback" not in site.log


def test_pending_frames_are_bounded_for_each_visitor(limited: LiveServer) -> None:
    """The pending frames of all sockets of one visitor share a size limit."""
    site = limited
    token = site.token("/tiny/direct")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(site, "/tiny", token)) for _ in range(3)]
        for client in clients:
            client.begin_frame(50_000)

        def refused() -> list[Socket]:
            return [client for client in clients if client.is_sent_something()]

        (third,) = eventually(refused, "a close frame")
        assert third.close_code() == 1009
        with session(site) as other:
            assert other.send_big(50_000) == "OK"
    site.until_logged("too many large messages of one visitor wait")
    assert "Traceback" not in site.log


def test_additions_are_counted_across_messages(limited: LiveServer) -> None:
    """The limit on new models counts across messages, and removed models free room."""
    site = limited

    def root(number: int) -> str:
        model = {"type": "object", "name": "Div", "id": f"root{number}"}
        return json.dumps({"events": [{"kind": "RootAdded", "model": model}]})

    def removed(number: int) -> str:
        return json.dumps({"events": [{"kind": "RootRemoved", "model": {"id": f"root{number}"}}]})

    with session(site) as client:
        for number in range(20):
            client.send_message(root(number))
            assert client.answer() == "OK"
            client.send_message(removed(number))
            assert client.answer() == "OK"
        for number in range(20, 25):
            client.send_message(root(number))
            assert client.answer() == "OK"
        client.send_message(root(25))
        assert client.close_code() == 1009
    site.until_logged("BOKEH_MAX_NEW_MODELS (5)")


def test_messages_after_a_refused_one_are_ignored(limited: LiveServer) -> None:
    """A client's messages after a refused one are not processed."""
    site = limited
    token = site.token("/tiny/direct")
    with connect(site, "/tiny", token) as client:
        title = {"kind": "TitleChanged", "title": "late"}
        client.send_message(attack("dtype bomb"))
        client.send_message(json.dumps({"events": [title]}))
        assert client.close_code() == 1009
    with connect(site, "/tiny", token) as again:
        assert '"title":"late"' not in again._document()
    assert "Traceback" not in site.log


def test_resent_models_do_not_count_as_new(strict: LiveServer) -> None:
    """The document's own models, which BokehJS resends after a reconnect, do not count as new."""
    site = strict
    with connect(site, "/sliders", site.token()) as client:
        (root,) = json.loads(client._document())["doc"]["roots"]
        events = [
            {"kind": "RootRemoved", "model": {"id": root["id"]}},
            {"kind": "RootAdded", "model": root},
        ]
        client.send_message(json.dumps({"events": events}))
        assert client.answer() == "OK"


def test_large_legitimate_messages_are_accepted(strict: LiveServer) -> None:
    """100,000 points as lists or arrays and a file of 15 MB in base64 are accepted."""
    with session(strict) as client:
        slider = client.model("Slider")

        def change(attr: str, new: object, *buffers: bytes) -> str:
            event = changed(slider, new, attr)
            client.send_message(json.dumps({"events": [event]}), "PATCH-DOC", *buffers)
            return client.answer()

        points = [list(range(100_000)), [n * 0.1 for n in range(100_000)]]
        assert change("tags", points) == "OK"
        array = {"dtype": "float64", "shape": [100_000], "order": "little", "type": "ndarray"}
        data = {"type": "bytes", "data": {"id": "0"}}
        assert change("tags", [{**array, "array": data}], bytes(800_000)) == "OK"
        assert change("title", "x" * 20_000_000) == "OK"
