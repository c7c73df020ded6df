"""Failures of pull_session()."""

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
def test_exception_of_the_application_is_raised_in_the_view(
    bokeh: FlaskBokeh, transport: str, path: str, error: type[BaseException]
) -> None:
    """The error names the application."""
    with (
        pytest.raises(ApplicationFailedError, match=f"The application {path} raised") as caught,
        bokeh.pull_session(path, transport=transport),
    ):
        pytest.fail("the block must not run")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_exception_of_a_hook_is_raised_in_the_view(
    app: Flask, bokeh: FlaskBokeh, site: Flask, transport: str
) -> None:
    """The error names the hook."""

    @bokeh.customize("/ok")
    def fails_on_purpose(doc: Document, visit: Visit) -> None:
        raise KeyError("column")

    with (
        pytest.raises(
            ApplicationFailedError, match=r"The hook .*fails_on_purpose of /ok raised KeyError"
        ),
        bokeh.pull_session("/ok", transport=transport),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_slow_application_times_out(
    app: Flask, site: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """The error names the application and BOKEH_PULL_TIMEOUT's seconds."""
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
        eventually(lambda: live_sessions(other) == 0, "the late session to be discarded")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.usefixtures("context")
def test_error_in_the_block_is_raised(site: Flask, bokeh: FlaskBokeh, transport: str) -> None:
    """The session is discarded when the block raises."""
    with pytest.raises(ZeroDivisionError), bokeh.pull_session("/ok", transport=transport):
        _ = 1 / 0
    eventually(lambda: live_sessions(site) == 0, "the session to be discarded")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_timeout_at_the_end_of_the_block_leaves_no_session(
    app: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """The loop is blocked when the block ends; the session is discarded later."""
    bokeh.add_application("/x", lambda doc: None)
    app.config["BOKEH_PULL_TIMEOUT"] = 0.5
    bokeh.init_app(app)

    async def block() -> None:
        time.sleep(1)  # blocks the loop

    with app.test_request_context():
        with pytest.raises(WaitTimeoutError), bokeh.pull_session("/x", transport=transport):
            server_of(app).loop.submit(block)
        eventually(lambda: live_sessions(app) == 0, "the session to be discarded")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_that_stops_in_the_block_is_an_error(
    app: Flask, site: Flask, bokeh: FlaskBokeh, transport: str
) -> None:
    """The error is raised at the end of the block, within a bounded time."""
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
def test_pulling_on_the_loop_thread_is_refused(site: Flask, bokeh: FlaskBokeh) -> None:
    """Pulling on the server's own loop would wait for itself."""

    def pull() -> None:
        with site.test_request_context(), bokeh.pull_session("/ok"):
            pass

    with pytest.raises(LoopThreadError, match="would wait for itself"):
        on_loop(site, pull)


@pytest.mark.usefixtures("context")
def test_unknown_path_and_transport_are_refused(bokeh: FlaskBokeh) -> None:
    """The error lists the known paths or transports."""
    with pytest.raises(UnknownApplicationError, match="/ok"), bokeh.pull_session("/nope"):
        pass
    with (
        pytest.raises(ValueError, match="expected 'direct' or 'client'"),
        bokeh.pull_session("/ok", transport="magic"),
    ):
        pass
