"""Fixtures: live servers, a real browser, and a check that tests leave no threads behind.

Tests that use a server in a process of its own, or a browser, are marked ``live``. Packages that
only these need are imported by the fixtures, so that unit tests run without them.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh

from .support.browser import FLAGS, Tab, new_profile
from .support.certificates import key_digest
from .support.ports import reserved_port
from .support.programs import find_browser
from .support.servers import SITE, Live, LiveServer
from .support.waiting import TIMEOUT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

# A shell starts background processes with SIGINT ignored, and servers would inherit that.
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
    """Stop the servers at the end, and check their logs.

    A server started with ``clean=False`` may log anything; one with ``expected`` texts, those.
    """
    with ExitStack() as stack:

        def start(
            kind: str = "werkzeug",
            app: str = SITE,
            *,
            config: dict[str, Any] | None = None,
            args: list[str] | None = None,
            port: int = 0,
            clean: bool = True,
            expected: Sequence[str] = (),
        ) -> LiveServer:
            server = LiveServer(kind, app, config or {}, args or [], port)

            def check() -> None:
                server.stop()
                if clean:
                    assert server.trouble_except(*expected) == [], server.log

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
    """Start servers that the tests of a module share: equal arguments give the same running one."""
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
    """A port for servers that need a port known in advance, or the same port again."""
    with reserved_port() as port:
        yield port


# Not for the whole session: while Playwright runs, this thread has a running asyncio loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine, or else Playwright's."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT * 1000)
    executable = find_browser()
    with sync_playwright() as playwright:
        # Trust our certificate only: to ignore all errors, Chromium opens connections twice.
        flags = [*FLAGS, f"--ignore-certificate-errors-spki-list={key_digest()}"]
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile that the tests of a module share."""
    profile = new_profile(browser)
    yield profile
    profile.close()


@pytest.fixture
def tab(profile: BrowserContext) -> Iterator[Tab]:
    """A new page in the module's profile, without cookies; its console must stay clean."""
    tab = Tab(profile.new_page())
    yield tab
    tab.page.evaluate("1")  # the messages that the console has got before arrive first
    trouble = list(tab.trouble)
    for page in profile.pages:
        if page is not tab.page:
            page.close()
    # The page keeps its process, in which the next test's page has BokehJS compiled already.
    tab.page.goto("about:blank")
    profile.clear_cookies()
    assert trouble == []


@pytest.fixture
def fresh_tab(browser: Browser) -> Iterator[Tab]:
    """A page in a profile of its own, for tests that change or close it."""
    profile = new_profile(browser)
    tab = Tab(profile.new_page())
    yield tab
    profile.close()
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
    """A folder for the files that sites in this process share with other workers."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Stop the servers of a test, and check that no thread of this package is left."""
    yield
    from flask_bokeh.runtime.lifecycle import registered

    for one in registered():
        one.stop()
    left = [thread.name for thread in threading.enumerate() if "flask_bokeh" in thread.name]
    assert left == []
