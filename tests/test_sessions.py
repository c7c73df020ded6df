"""pull_session and with_session: edits hold, callbacks live, nothing stays behind."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Slider
from flask import Flask, render_template_string
from flask.views import MethodView, View

from flask_bokeh import (
    ApplicationFailedError,
    FlaskBokeh,
    FlaskBokehError,
    LoopThreadError,
    PulledSession,
    ServerStoppedError,
    UnknownApplicationError,
    Visit,
    WaitTimeoutError,
    visit,
)
from flask_bokeh.bokeh_api.v3.client import SignedClientSession
from flask_bokeh.server.in_process import InProcessServer

from .conftest import eventually

TRANSPORTS = ["direct", "client"]


@pytest.fixture
def calls() -> list[Any]:
    """What the applications' Python callbacks were called with."""
    return []


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, calls: list[Any]) -> Flask:
    """A site with an application that works, one that raises, and a slow one."""

    @bokeh.application("/ok")
    def ok(doc: Document) -> None:
        slider = Slider(start=0, end=10, value=1, name="k")
        slider.on_change("value", lambda attr, old, new: calls.append(new))
        doc.add_root(slider)
        doc.add_root(ColumnDataSource({"x": [1]}, name="data"))

    @bokeh.application("/raises")
    def raises(doc: Document) -> None:
        raise LookupError("the data are gone")

    @bokeh.application("/exits")
    def exits(doc: Document) -> None:
        raise SystemExit(3)

    @bokeh.application("/slow")
    def slow(doc: Document) -> None:
        time.sleep(1)
        doc.add_root(Slider(start=0, end=10, value=1, name="k"))

    bokeh.init_app(app)
    return app


@pytest.fixture
def context(site: Flask) -> Iterator[None]:
    with site.test_request_context():
        yield


def server_of(site: Flask) -> InProcessServer:
    server = site.extensions["bokeh"].server()
    assert isinstance(server, InProcessServer)
    return server


def server_document(site: Flask, session: PulledSession) -> Document:
    found = server_of(site).find_session(session.path, session.id)
    assert found is not None
    return found.document


def on_loop(site: Flask, work: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return work()

    return server_of(site).loop.call(run, what="a test", timeout=5)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_edits_reach_the_server(site: Flask, bokeh: FlaskBokeh, transport: str) -> None:
    """Ten of ten edits are in the server's own document when the block has ended."""
    for number in range(10):
        with bokeh.pull_session("/ok", transport=transport) as session:
            session.document.select_one({"name": "k"}).value = number % 9 + 1
            session.document.select_one({"name": "data"}).stream({"x": [number]})
        document = server_document(site, session)
        assert document.select_one({"name": "k"}).value == number % 9 + 1
        assert list(document.select_one({"name": "data"}).data["x"]) == [1, number]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_callbacks_of_the_application_live(
    site: Flask, bokeh: FlaskBokeh, calls: list[Any], transport: str
) -> None:
    """The Python callbacks that the application registered answer after the pull."""
    with bokeh.pull_session("/ok", transport=transport) as session:
        pass
    document = server_document(site, session)
    found = server_of(site).find_session(session.path, session.id)
    assert found is not None

    async def change() -> None:
        def edit() -> None:
            document.select_one({"name": "k"}).value = 9

        await found.with_document_locked(edit)

    server_of(site).loop.call(change, what="a test", timeout=5)
    assert calls[-1:] == [9]


@pytest.mark.usefixtures("context")
def test_force_roundtrip_brings_edits_at_once(site: Flask, bokeh: FlaskBokeh) -> None:
    """With bokeh.client, force_roundtrip() is a way to have the edits there before the end."""
    with bokeh.pull_session("/ok", transport="client") as session:
        session.document.select_one({"name": "k"}).value = 7
        session.force_roundtrip()
        assert server_document(site, session).select_one({"name": "k"}).value == 7


@pytest.mark.usefixtures("context")
def test_timers_added_and_removed_in_the_block(site: Flask, bokeh: FlaskBokeh) -> None:
    """Periodic, time-out and next-tick callbacks start with the end of the block."""
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
def test_a_timer_of_the_application_can_be_removed(app: Flask, bokeh: FlaskBokeh) -> None:
    """A callback that the application started is stopped by removing it in the block."""
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
                session.document.remove_periodic_callback(callback)
        count = len(heard)
        with extension.pull_session("/ticking"):
            pass
        eventually(lambda: len(heard) > count + 3, "the other session's callback")
        assert server_document(other, session).session_callbacks == []


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("path", "error"), [("/raises", LookupError), ("/exits", SystemExit)])
@pytest.mark.usefixtures("context")
def test_an_application_that_raises(
    bokeh: FlaskBokeh, transport: str, path: str, error: type[BaseException]
) -> None:
    """What the application raised comes to the view, naming the application."""
    with (
        pytest.raises(ApplicationFailedError, match=f"The application {path} raised") as caught,
        bokeh.pull_session(path, transport=transport),
    ):
        pytest.fail("the block must not run")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_a_hook_that_raises(app: Flask, bokeh: FlaskBokeh, site: Flask, transport: str) -> None:
    """What a hook raised comes to the view, naming the hook."""

    @bokeh.customize("/ok")
    def choosy(doc: Document, visit: Visit) -> None:
        raise KeyError("column")

    with (
        pytest.raises(ApplicationFailedError, match=r"The hook .*choosy of /ok raised KeyError"),
        bokeh.pull_session("/ok", transport=transport),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_slow_application_times_out(
    app: Flask, site: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """The wait ends after BOKEH_PULL_TIMEOUT, saying what was waited for and how long."""
    other = Flask("other")
    other.config["BOKEH_PULL_TIMEOUT"] = 0.2
    other.secret_key = "x" * 20
    bokeh.init_app(other)
    with other.test_request_context():
        bokeh.start()
        before = time.monotonic()
        with (
            pytest.raises(WaitTimeoutError, match=r"Waited 0.2 s for a session of /slow"),
            bokeh.pull_session("/slow", transport=transport),
        ):
            pytest.fail("the block must not run")
        assert time.monotonic() - before < 2.5
        eventually(lambda: live_sessions(other) == 0, "the late session to be given up")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_an_error_in_the_block(site: Flask, bokeh: FlaskBokeh, transport: str) -> None:
    """An exception in the block goes through, and the session is given up."""
    with pytest.raises(ZeroDivisionError), bokeh.pull_session("/ok", transport=transport):
        _ = 1 / 0
    eventually(lambda: live_sessions(site) == 0, "the session to be given up")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_loop_that_is_blocked_when_the_block_ends(
    app: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """A page that fails because the server does not let go in time leaves no session either."""
    bokeh.add_application("/x", lambda doc: None)
    app.config["BOKEH_PULL_TIMEOUT"] = 0.5
    bokeh.init_app(app)

    async def block() -> None:
        time.sleep(1)  # on purpose

    with app.test_request_context():
        with pytest.raises(WaitTimeoutError), bokeh.pull_session("/x", transport=transport):
            server_of(app).loop.submit(block)
        eventually(lambda: live_sessions(app) == 0, "the session to be given up")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_stops_in_the_block(
    app: Flask, site: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """If the server goes while the block runs, its end says so within bounded time."""
    other = Flask("other")
    other.config.update(BOKEH_PULL_TIMEOUT=2.0, BOKEH_STOP_TIMEOUT=0.5)
    other.secret_key = "x" * 20
    bokeh.init_app(other)
    before = time.monotonic()
    with (
        other.test_request_context(),
        pytest.raises((ServerStoppedError, WaitTimeoutError)),
        bokeh.pull_session("/ok", transport=transport),
    ):
        bokeh.stop()
    assert time.monotonic() - before < 8


@pytest.mark.usefixtures("context")
def test_the_loops_own_thread_is_refused(site: Flask, bokeh: FlaskBokeh) -> None:
    """Pulling on the server's own loop would wait for itself, and is refused."""

    def pull() -> None:
        with site.test_request_context(), bokeh.pull_session("/ok"):
            pass

    with pytest.raises(LoopThreadError, match="would wait for itself"):
        on_loop(site, pull)


@pytest.mark.usefixtures("context")
def test_wrong_use_is_refused(bokeh: FlaskBokeh) -> None:
    """An unknown path and an unknown transport are refused before anything starts."""
    with pytest.raises(UnknownApplicationError, match="/ok"), bokeh.pull_session("/nope"):
        pass
    with (
        pytest.raises(ValueError, match="expected 'direct' or 'client'"),
        bokeh.pull_session("/ok", transport="magic"),
    ):
        pass


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_hooks_know_the_visit(app: Flask, bokeh: FlaskBokeh, transport: str) -> None:
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
            arguments={"year": "2024"},
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


def test_with_session_on_all_kinds_of_views(site: Flask, bokeh: FlaskBokeh) -> None:
    """Functions, async functions, methods, and whole classes through ``decorators``."""

    @site.get("/plain/<word>")
    @bokeh.with_session("/ok")
    def plain(word: str, bokeh_session: PulledSession) -> str:
        return f"{word} {bokeh_session.path}"

    @site.get("/async")
    @bokeh.with_session("/ok", name="plot")
    async def asynchronous(plot: PulledSession) -> str:
        return plot.path

    class Methods(MethodView):
        @bokeh.with_session("/ok")
        def get(self, bokeh_session: PulledSession) -> str:
            return bokeh_session.path

    class Whole(View):
        decorators = (bokeh.with_session("/ok"),)

        def dispatch_request(self, bokeh_session: PulledSession) -> str:
            return bokeh_session.path

    site.add_url_rule("/methods", view_func=Methods.as_view("methods"))
    site.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    client = site.test_client()
    assert client.get("/plain/hello").text == "hello /ok"
    for path in ("/async", "/methods", "/whole"):
        assert client.get(path).text == "/ok", path
    assert plain.__name__ == "plain"


def test_the_client_transport_in_an_async_view(site: Flask, bokeh: FlaskBokeh) -> None:
    """bokeh.client can't run where a loop runs already; the error says what to do."""

    @site.get("/async")
    @bokeh.with_session("/ok", transport="client")
    async def asynchronous(bokeh_session: PulledSession) -> str:
        return "unreachable"

    site.testing = True
    with pytest.raises(FlaskBokehError, match="Use transport='direct'"):
        site.test_client().get("/async")


def test_many_threads_pull_at_once(site: Flask, bokeh: FlaskBokeh) -> None:
    """Sixteen threads pull and edit at the same time; each has its own session and edit."""
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
        thread.join(30)
    assert wrong == []


@pytest.mark.usefixtures("context")
def test_small_frames_do_not_wait(site: Flask, bokeh: FlaskBokeh) -> None:
    """Both ends of bokeh.client's connection have TCP_NODELAY: a pull would take 180 ms without."""
    with bokeh.pull_session("/ok", transport="client") as pulled:
        server = server_of(site)

        async def of_server() -> int:
            session = server.find_session(pulled.path, pulled.id)
            assert session is not None
            (connection,) = session._subscribed_connections
            stream = connection._socket.ws_connection.stream  # type: ignore[union-attr]
            return int(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        assert server.loop.call(of_server, what="a test", timeout=5) == 1
        clients = [one for one in gc.get_objects() if type(one) is SignedClientSession]
        (client,) = [one for one in clients if one.id == pulled.id]
        stream = client._connection._socket._socket.protocol.stream
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def live_sessions(site: Flask) -> int:
    """Sessions that nobody has given up; Bokeh drops the others at its next look."""
    server = site.extensions["bokeh"]._server
    found = server._server.get_sessions()
    return len([session for session in found if not session.expiration_requested])


def test_an_abandoned_session_does_not_outstay(app: Flask) -> None:
    """A pulled session that no browser comes for is dropped after its lifetime."""
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


def test_the_session_is_shown_once(site: Flask, bokeh: FlaskBokeh) -> None:
    """A page shows a session once; a second embed is refused."""

    @site.get("/")
    @bokeh.with_session("/ok")
    def index(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}{% bokeh %}")

    site.testing = True
    with pytest.raises(FlaskBokehError, match="is on this page already"):
        site.test_client().get("/")
