"""Live servers, a real browser, and a watch on what tests leave behind."""

from __future__ import annotations

import atexit
import base64
import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from flask_bokeh import FlaskBokeh

from .programs import BROWSER_FLAGS, find_browser

# A shell starts what it runs in the background with SIGINT ignored, and servers would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
SITE = "tests.live_apps.site:create_app()"

COMMANDS: dict[str, list[str]] = {
    "werkzeug": ["-m", "flask", "--app", "{app}", "run", "--port", "0"],
    "gunicorn-sync": ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--access-logfile", "-", "{app}"],
    "gunicorn-gthread": [
        *["-m", "gunicorn", "--bind", "127.0.0.1:0", "--access-logfile", "-"],
        *["--worker-class", "gthread", "--threads", "4", "{app}"],
    ],
    "gunicorn-gevent": [
        *["-m", "gunicorn", "--bind", "127.0.0.1:0", "--access-logfile", "-"],
        *["--worker-class", "gevent", "{app}"],
    ],
    "waitress": [
        "-m",
        "waitress",
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "16",
        "--call",
        "{path}",
    ],
    "cheroot": ["-m", "tests.live_apps.serve", "cheroot", "{app}"],
    "uwsgi": [
        *["-m", "tests.live_apps.serve", "uwsgi", "{app}"],
        *["--enable-threads", "--threads", "4"],
    ],
    "uwsgi-without-threads": ["-m", "tests.live_apps.serve", "uwsgi", "{app}"],
}
COMMANDS["flask-bokeh-run"] = ["-m", "flask", "--app", "{app}", "bokeh", "run", "--port", "0"]
COMMANDS["flask-bokeh-run-tls"] = [
    *COMMANDS["flask-bokeh-run"],
    *["--cert", "{cert}", "--key", "{key}"],
]
# One that keeps its clients' sockets to itself.
COMMANDS["hypercorn"] = ["-m", "hypercorn", "--workers", "0", "wsgi:{app}"]  # and --bind
COMMANDS["werkzeug-tls"] = [*COMMANDS["werkzeug"], "--cert", "{cert}", "--key", "{key}"]
for _kind in ("sync", "gthread"):
    COMMANDS[f"gunicorn-{_kind}-tls"] = [
        *COMMANDS[f"gunicorn-{_kind}"],
        *["--certfile", "{cert}", "--keyfile", "{key}"],
    ]
# TLS that can't be taken over: see docs/servers.md.
COMMANDS["gunicorn-gevent-tls"] = [
    *COMMANDS["gunicorn-gevent"],
    *["--certfile", "{cert}", "--keyfile", "{key}"],
]
COMMANDS["cheroot-tls"] = [*COMMANDS["cheroot"], "{cert}", "{key}"]
REFUSED = ("gunicorn-gevent-tls", "cheroot-tls")
SERVERS = [
    kind for kind in COMMANDS if kind not in (*REFUSED, "uwsgi-without-threads", "hypercorn")
]
_ADDRESS = re.compile(
    r"(?:Running on|Listening at:|Serving on) (?:https?://(?=127)|unix://)(\S+[\w])"
    r"|bound to TCP address (127\.0\.0\.1:\d+)"
)
_TROUBLE = re.compile(
    r"Traceback|Error|ERROR|(?<!\*\*\* )WARNING:(?! This is a development)|Warning|warn\b"
)
# BokehJS sends a model again after a reconnect, to bokeh serve as well; gunicorn 22 calls it
# an error when it ends its workers itself; waitress tells that the machine is busy.
_OTHERS = re.compile(
    r"BokehUserWarning: reference already known|Worker \(pid:\d+\) was sent SIGTERM!"
    r"|waitress\.queue:Task queue depth"
)


class LiveServer:
    """A WSGI server in a process of its own."""

    def __init__(self, kind: str, app: str, config: dict[str, Any], args: list[str]) -> None:
        cert, key = certificate()
        names = {"app": app, "path": app.removesuffix("()"), "cert": cert, "key": key}
        command = [part.format_map(names) for part in COMMANDS[kind]]
        # Tests with the same key must not meet in one folder.
        self._folder = tempfile.TemporaryDirectory()
        # The application comes last for gunicorn; options may follow it in both.
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command, *args],
            cwd=ROOT,
            env={
                **os.environ,
                "SITE_CONFIG": json.dumps(config),
                "PYTHONPATH": str(ROOT),
                "XDG_RUNTIME_DIR": self._folder.name,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.kind = kind
        self.cookies: dict[str, str] = {}
        """The cookies of the visitor who got a token."""
        self._lines: list[str] = []
        self._found = threading.Event()
        self.address = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._found.wait(30) or not self.address:
            self.stop()
            raise RuntimeError(f"{kind} did not start:\n{self.log}")
        self.url = f"{'https' if 'tls' in kind else 'http'}://{self.address}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for coloured in self.process.stdout:
            line = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
            self._lines.append(line)
            if not self.address and (match := _ADDRESS.search(line)):
                self.address = match[1] or match[2]
                self._found.set()
        self._found.set()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def until_logged(self, text: str) -> None:
        """Wait for a line: it comes through a pipe, maybe after the answer."""
        eventually(lambda: text in self.log, f"{text!r} in the log")

    @property
    def trouble(self) -> str:
        """The lines of the log that nobody wants to see in normal use."""
        return "".join(
            line for line in self._lines if _TROUBLE.search(line) and not _OTHERS.search(line)
        )

    def get(self, path: str, **headers: str) -> str:
        """A page, as a new visitor sees it, unless the headers hold a Cookie."""
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=20, context=self.context) as response:
            html = str(response.read().decode())
            new = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", [])]
        cookies = "; ".join([*filter(None, [headers.get("Cookie")]), *new])
        self.cookies.update(dict.fromkeys(tokens_in(html), cookies))
        return html

    def post(self, path: str) -> str:
        address = self.url + path
        with urllib.request.urlopen(address, b"", 20, context=self.context) as response:
            return str(response.read().decode())

    @property
    def context(self) -> ssl.SSLContext | None:
        """What clients need to trust a server with TLS."""
        return trusting() if self.url.startswith("https") else None

    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/stats")))

    def token(self, path: str = "/") -> str:
        """The session token in a page."""
        return tokens_in(self.get(path))[0]

    def stop(self, how: signal.Signals | None = None, timeout: float = 20) -> int:
        """Stop it as its users do: Ctrl-C for two that know no TERM."""
        # On SIGINT a gunicorn gthread worker can hang in its own signal handler for ever.
        by_hand = self.kind.startswith(("werkzeug", "waitress"))
        usual = signal.SIGINT if by_hand else signal.SIGTERM
        if self.process.poll() is None:
            self.process.send_signal(how or usual)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._folder.cleanup()
        return code


@cache
def certificate() -> tuple[str, str]:
    """Files with a certificate for 127.0.0.1 and its key; they end with the tests."""
    folder = tempfile.TemporaryDirectory(prefix="flask_bokeh_tests")
    atexit.register(folder.cleanup)
    cert, key = (os.path.join(folder.name, name) for name in ("cert.pem", "key.pem"))
    issued = _authority().issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    return cert, key


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def key_digest() -> str:
    """What Chromium calls the certificate's key."""
    cert = x509.load_pem_x509_certificate(Path(certificate()[0]).read_bytes())
    key = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@cache
def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


def tokens_in(html: str) -> list[str]:
    return re.findall(r'"token":"([A-Za-z0-9_.-]+)"', html)


def eventually(check: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait until a check holds, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}; last: {result!r}")
        time.sleep(0.02)
    return result


Live = Callable[..., LiveServer]


@pytest.fixture
def live() -> Iterator[Live]:
    """Start servers; each must end with a clean log, unless the test says otherwise."""
    with ExitStack() as stack:

        def start(
            kind: str = "werkzeug",
            app: str = SITE,
            *,
            config: dict[str, Any] | None = None,
            args: list[str] | None = None,
            clean: bool = True,
        ) -> LiveServer:
            server = LiveServer(kind, app, config or {}, args or [])

            def check() -> None:
                server.stop()
                if clean:
                    assert server.trouble == "", server.log

            stack.callback(check)
            return server

        yield start


# Not for the whole session: while Playwright runs, this thread has a running asyncio loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the one on this machine, else Playwright's own."""
    executable = find_browser()
    with sync_playwright() as playwright:
        # Trust our certificate only: to ignore all errors, Chromium opens connections twice.
        flags = [*BROWSER_FLAGS, f"--ignore-certificate-errors-spki-list={key_digest()}"]
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()


class Tab:
    """A page of the browser, and everything its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[str] = []
        self.trouble: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.trouble.append(f"exception: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        self.messages.append(message.text)
        if message.type in ("error", "warning", "assert"):
            self.trouble.append(f"{message.type}: {message.text}")

    def open(self, url: str, plots: int = 1) -> Tab:
        """Open a page and wait until so many sessions are shown."""
        self.page.goto(url)
        self.page.wait_for_function(
            "n => window.Bokeh && Bokeh.documents.length >= n && "
            "Bokeh.documents.every(d => d.is_idle)",
            arg=plots,
            timeout=30_000,
        )
        return self

    def forgive_the_network(self) -> None:
        """Take out what a browser says when its server goes away."""
        self.forgive(
            *["WebSocket connection to", "Failed to connect", "Lost websocket", "websocket"],
            "Failed to load resource",
            "Still in CONNECTING state",  # BokehJS sends a change while it reconnects
            "already in CLOSING or CLOSED state",  # or before it knows
            "not connected so cannot send",  # or while it is not connected
        )

    def forgive(self, *parts: str) -> None:
        """Take lines out of the trouble that the test itself has made."""
        self.trouble = [line for line in self.trouble if not any(part in line for part in parts)]

    def title(self, name: str = "plot", document: int = 0) -> str:
        return str(
            self.page.evaluate(
                "([d, n]) => Bokeh.documents[d].get_model_by_name(n).title.text", [document, name]
            )
        )

    def until_title(self, text: str, name: str = "plot", document: int = 0) -> None:
        self.page.wait_for_function(
            "([d, n, t]) => window.Bokeh?.documents[d]?.get_model_by_name(n).title.text == t",
            arg=[document, name, text],
            timeout=20_000,
        )

    def until_message(self, text: str) -> None:
        """Wait until BokehJS has said something in the console."""

        def said() -> bool:
            self.page.wait_for_timeout(20)  # messages arrive while Playwright waits
            return any(text in message for message in self.messages)

        eventually(said, f"{text!r} in the console")

    def move_slider(self, presses: int = 1, nth: int = 0) -> None:
        """Move a slider as a person would, with the keyboard."""
        handle = self.page.locator(".noUi-handle").nth(nth)
        handle.focus()
        for _ in range(presses):
            handle.press("ArrowRight")


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
    """Where the workers of a site meet, for sites in this process."""
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
