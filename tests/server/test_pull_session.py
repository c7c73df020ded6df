"""pull_session(): edits arrive, callbacks run, timers work."""

from __future__ import annotations

import gc
import socket
import threading
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import Slider
from bokeh.server.callbacks import PeriodicCallback
from flask import Flask

from flask_bokeh import FlaskBokeh, Visit, visit
from flask_bokeh.bokeh_api.v3.client import SignedClientSession
from flask_bokeh.security.arguments import Arguments

from ..support.pulled import TRANSPORTS, server_document, server_of
from ..support.waiting import eventually


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_edits_reach_the_server(site: Flask, bokeh: FlaskBokeh, transport: str) -> None:
    """All edits are in the server's document when the block has ended, ten times out of ten."""
    for number in range(10):
        with bokeh.pull_session("/ok", transport=transport) as session:
            session.document.select_one({"name": "k"}).value = number % 9 + 1
            session.document.select_one({"name": "data"}).stream({"x": [number]})
        document = server_document(site, session)
        assert document.select_one({"name": "k"}).value == number % 9 + 1
        assert list(document.select_one({"name": "data"}).data["x"]) == [1, number]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_callbacks_of_the_application_run_after_the_pull(
    site: Flask, bokeh: FlaskBokeh, calls: list[Any], transport: str
) -> None:
    """The application's Python callbacks are called for changes after the pull."""
    with bokeh.pull_session("/ok", transport=transport) as session:
        pass
    document = server_document(site, session)
    found = server_of(site).find_session(session.path, session.id)
    assert found is not None

    async def change() -> None:
        def edit() -> None:
            document.select_one({"name": "k"}).value = 9

        locked: Any = found.with_document_locked(edit)  # its type says None
        await locked

    server_of(site).loop.call(change, what="a test", timeout=60)
    assert calls[-1:] == [9]


@pytest.mark.usefixtures("context")
def test_force_roundtrip_sends_edits_at_once(site: Flask, bokeh: FlaskBokeh) -> None:
    """With bokeh.client, force_roundtrip() sends the edits before the end of the block."""
    with bokeh.pull_session("/ok", transport="client") as session:
        session.document.select_one({"name": "k"}).value = 7
        session.force_roundtrip()
        assert server_document(site, session).select_one({"name": "k"}).value == 7


@pytest.mark.usefixtures("context")
def test_timers_added_in_the_block_start_with_its_end(site: Flask, bokeh: FlaskBokeh) -> None:
    """Periodic, time-out and next-tick callbacks start then; removed ones do not."""
    heard: list[str] = []
    with bokeh.pull_session("/ok") as session:
        document = session.document
        document.add_periodic_callback(lambda: heard.append("periodic"), 20)
        removed = document.add_periodic_callback(lambda: heard.append("removed"), 20)
        document.remove_periodic_callback(removed)
        document.add_timeout_callback(lambda: heard.append("timeout"), 20)
        document.add_next_tick_callback(lambda: heard.append("tick"))
        assert heard == []
    eventually(lambda: {"tick", "timeout", "periodic"} <= set(heard), "the callbacks")
    eventually(lambda: heard.count("periodic") > 2, "the periodic callback, again")
    assert "removed" not in heard


@pytest.mark.usefixtures("context")
def test_timer_of_the_application_can_be_removed_in_the_block(
    app: Flask, bokeh: FlaskBokeh
) -> None:
    """Removing a periodic callback of the application in the block stops it."""
    heard: list[int] = []

    def ticking(doc: Document) -> None:
        doc.add_periodic_callback(lambda: heard.append(1), 10)

    other, extension = Flask("other"), FlaskBokeh()
    other.secret_key = "x" * 20
    extension.add_application("/ticking", ticking)
    extension.init_app(other)
    with other.test_request_context():
        with extension.pull_session("/ticking") as session:
            for callback in session.document.session_callbacks:
                assert isinstance(callback, PeriodicCallback)
                session.document.remove_periodic_callback(callback)
        count = len(heard)
        with extension.pull_session("/ticking"):
            pass
        eventually(lambda: len(heard) > count + 3, "the other session's callback")
        assert server_document(other, session).session_callbacks == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_hooks_get_the_visit(app: Flask, bokeh: FlaskBokeh, transport: str) -> None:
    """Hooks run once, after the application, in an application context, with the visit."""
    seen: list[Any] = []

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        seen.append(("application", visit(doc).user))
        doc.add_root(Slider(start=0, end=1, value=0))

    @bokeh.customize()
    def every(doc: Document, visit: Visit) -> None:
        from flask import current_app

        seen.append(("every", current_app.name, len(doc.roots)))

    @bokeh.customize("/x")
    def one(doc: Document, visit: Visit) -> None:
        seen.append(("one", visit))

    @bokeh.customize("/y")
    def other(doc: Document, visit: Visit) -> None:
        seen.append("other")

    bokeh.add_application("/y", x)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    options: dict[str, Any] = {"arguments": {"year": 2024}, "data": {"shop": [1]}}
    with app.test_request_context():
        with bokeh.pull_session("/x", transport=transport, **options) as session:
            pass
        expected = Visit(
            user="ann",
            arguments=Arguments({"year": "2024"}),
            data={"shop": [1]},
            path="/x",
            session_id=session.id,
        )
        assert seen == [("application", "ann"), ("every", app.name, 1), ("one", expected)]
        with bokeh.pull_session("/x", transport=transport, user="bob"):
            pass
        assert seen[3] == ("application", "bob")
        with bokeh.pull_session("/x", transport=transport, user=None):
            pass
        assert seen[6] == ("application", None)


def test_threads_that_pull_at_once_get_their_own_sessions(site: Flask, bokeh: FlaskBokeh) -> None:
    """Sixteen threads pull and edit at the same time; no edit reaches another session."""
    wrong: list[Any] = []

    def pull(number: int) -> None:
        with site.test_request_context():
            for _ in range(5):
                with bokeh.pull_session("/ok") as session:
                    session.document.select_one({"name": "k"}).value = number
                value = server_document(site, session).select_one({"name": "k"}).value
                if value != number:
                    wrong.append((number, value))

    with site.test_request_context():
        bokeh.start()
    threads = [threading.Thread(target=pull, args=(number,)) for number in range(2, 10)] * 1
    threads += [threading.Thread(target=pull, args=(number,)) for number in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.usefixtures("context")
def test_client_connection_has_tcp_nodelay(site: Flask, bokeh: FlaskBokeh) -> None:
    """Both ends of bokeh.client's connection have it: a pull would take 180 ms without it."""
    with bokeh.pull_session("/ok", transport="client") as pulled:
        server = server_of(site)

        async def of_server() -> int:
            session: Any = server.find_session(pulled.path, pulled.id)
            assert session is not None
            (connection,) = session._subscribed_connections
            stream = connection._socket.ws_connection.stream
            return int(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        assert server.loop.call(of_server, what="a test", timeout=60) == 1
        clients = [one for one in gc.get_objects() if type(one) is SignedClientSession]
        (client,) = [one for one in clients if one.id == pulled.id]
        connected: Any = client._connection
        stream = connected._socket._socket.protocol.stream
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_unused_pulled_session_is_dropped_after_its_lifetime(app: Flask) -> None:
    """A pulled session without a browser is dropped after BOKEH_UNUSED_SESSION_LIFETIME."""
    bokeh = FlaskBokeh()
    bokeh.add_application("/x", lambda doc: None)
    app.config["BOKEH_UNUSED_SESSION_LIFETIME"] = 0.5
    bokeh.init_app(app)
    with app.test_request_context():
        with bokeh.pull_session("/x") as session:
            pass
        server = server_of(app)
        assert server.find_session(session.path, session.id) is not None
        eventually(
            lambda: server.find_session(session.path, session.id) is None,
            "the session to be dropped",
        )
