"""pull_session() when something fails."""

from __future__ import annotations

import time

import pytest
from bokeh.document import Document
from flask import Flask

from flask_bokeh import (
    ApplicationFailedError,
    FlaskBokeh,
    LoopThreadError,
    ServerStoppedError,
    UnknownApplicationError,
    Visit,
    WaitTimeoutError,
)

from ..support.pulled import TRANSPORTS, live_sessions, on_loop, server_of
from ..support.waiting import eventually


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("path", "error"), [("/raises", LookupError), ("/exits", SystemExit)])
@pytest.mark.usefixtures("context")
def test_an_application_that_raises(
    bokeh: FlaskBokeh, transport: str, path: str, error: type[BaseException]
) -> None:
    """An exception of the application is raised in the view, and names the application."""
    with (
        pytest.raises(ApplicationFailedError, match=f"The application {path} raised") as caught,
        bokeh.pull_session(path, transport=transport),
    ):
        pytest.fail("the block must not run")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_a_hook_that_raises(app: Flask, bokeh: FlaskBokeh, site: Flask, transport: str) -> None:
    """An exception of a hook is raised in the view, and names the hook."""

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
        assert time.monotonic() - before < 20
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
    assert time.monotonic() - before < 30


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
