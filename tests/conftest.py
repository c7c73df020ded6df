"""Fixtures: live servers, a real browser, and a watch on what tests leave behind.

Tests that use a server in a process of its own, or a browser, are marked ``live``. What only they
need is imported when a fixture is used, so that unit tests run without it.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh

from .support.browser import FLAGS, Tab
from .support.certificates import key_digest
from .support.ports import reserved_port
from .support.programs import find_browser
from .support.servers import SITE, Live, LiveServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A shell starts what it runs in the background with SIGINT ignored, and servers would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LIVE = {"live", "module_live", "browser"}
"""Fixtures that start a process."""


@pytest.hookimpl(tryfirst=True)  # before pytest's own selection by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a live server or a browser."""
    for item in items:
        if _LIVE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("live")


@contextmanager
def _live_servers() -> Iterator[Live]:
    """Stop the servers at the end; check the log of each that was not started with clean=False."""
    with ExitStack() as stack:

        def start(
            kind: str = "werkzeug",
            app: str = SITE,
            *,
            config: dict[str, Any] | None = None,
            args: list[str] | None = None,
            port: int = 0,
            clean: bool = True,
        ) -> LiveServer:
            server = LiveServer(kind, app, config or {}, args or [], port)

            def check() -> None:
                server.stop()
                if clean:
                    assert server.trouble == "", server.log

            stack.callback(check)
            return server

        yield start


@pytest.fixture
def live() -> Iterator[Live]:
    """Start servers for one test."""
    with _live_servers() as start:
        yield start


@pytest.fixture(scope="module")
def module_live() -> Iterator[Live]:
    """Start servers that the tests of a module share: one at a time for the same arguments."""
    servers: dict[str, LiveServer] = {}
    with _live_servers() as start:

        def shared(*args: Any, **options: Any) -> LiveServer:
            key = repr((args, sorted(options.items())))
            if key not in servers or servers[key].process.poll() is not None:
                servers[key] = start(*args, **options)
            return servers[key]

        yield shared


@pytest.fixture
def port() -> Iterator[int]:
    """A port for servers that must be told theirs, or that come back on the same one."""
    with reserved_port() as port:
        yield port


# Not for the whole session: while Playwright runs, this thread has a running asyncio loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the one on this machine, else Playwright's own."""
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    with sync_playwright() as playwright:
        # Trust our certificate only: to ignore all errors, Chromium opens connections twice.
        flags = [*FLAGS, f"--ignore-certificate-errors-spki-list={key_digest()}"]
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A fresh page in a fresh profile; its console must stay clean."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, ignore_https_errors=True)
    tab = Tab(context.new_page())
    yield tab
    context.close()
    assert tab.trouble == []


@pytest.fixture
def bokeh() -> FlaskBokeh:
    """An extension with nothing registered."""
    return FlaskBokeh()


@pytest.fixture
def app() -> Flask:
    """A Flask application without flask_bokeh."""
    app = Flask("tests.app")
    app.secret_key = "a secret key for the tests only"
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session", autouse=True)
def own_folder() -> Iterator[None]:
    """The folder that the workers of a site share, for sites in this process."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No test leaves a thread of ours behind: what starts a server stops it."""
    yield
    from flask_bokeh.runtime.lifecycle import registered

    for one in registered():
        one.stop()
    left = [thread.name for thread in threading.enumerate() if "flask_bokeh" in thread.name]
    assert left == []
