"""WSGI servers in processes of their own, with a log that tests read."""

from __future__ import annotations

import json
import re
import signal
import ssl
import tempfile
import urllib.request
from collections.abc import Callable
from typing import Any

from .certificates import certificate, trusting
from .html import tokens_in
from .processes import ServerProcess
from .waiting import TIMEOUT, eventually

SITE = "tests.live_apps.site:create_app()"

COMMANDS: dict[str, list[str]] = {
    "werkzeug": ["-m", "flask", "--app", "{app}", "run", "--port", "{port}"],
    "gunicorn-sync": [
        "-m",
        "gunicorn",
        "--bind",
        "127.0.0.1:{port}",
        "--access-logfile",
        "-",
        "{app}",
    ],
    "gunicorn-gthread": [
        *["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--access-logfile", "-"],
        *["--worker-class", "gthread", "--threads", "4", "{app}"],
    ],
    "gunicorn-gevent": [
        *["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--access-logfile", "-"],
        *["--worker-class", "gevent", "{app}"],
    ],
    "waitress": [
        "-m",
        "waitress",
        "--listen",
        "127.0.0.1:{port}",
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
COMMANDS["flask-bokeh-run"] = ["-m", "flask", "--app", "{app}", "bokeh", "run", "--port", "{port}"]
COMMANDS["flask-bokeh-run-tls"] = [
    *COMMANDS["flask-bokeh-run"],
    *["--cert", "{cert}", "--key", "{key}"],
]
# A server that does not hand out its clients' sockets.
COMMANDS["hypercorn"] = [
    *["-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:{port}", "wsgi:{app}"]
]
COMMANDS["werkzeug-tls"] = [*COMMANDS["werkzeug"], "--cert", "{cert}", "--key", "{key}"]
for _kind in ("sync", "gthread"):
    COMMANDS[f"gunicorn-{_kind}-tls"] = [
        *COMMANDS[f"gunicorn-{_kind}"],
        *["--certfile", "{cert}", "--keyfile", "{key}"],
    ]
# TLS whose connections can't be hijacked: see docs/servers.md.
COMMANDS["gunicorn-gevent-tls"] = [
    *COMMANDS["gunicorn-gevent"],
    *["--certfile", "{cert}", "--keyfile", "{key}"],
]
COMMANDS["cheroot-tls"] = [*COMMANDS["cheroot"], "{cert}", "{key}"]
REFUSED = ("gunicorn-gevent-tls", "cheroot-tls")
SERVERS = [
    kind for kind in COMMANDS if kind not in (*REFUSED, "uwsgi-without-threads", "hypercorn")
]
_TROUBLE = re.compile(
    r"Traceback|Error|ERROR|(?<!\*\*\* )WARNING:(?! This is a development)|Warning|warn\b"
)
# Messages in normal use: BokehJS sends a model again after a reconnect, to bokeh serve as well;
# gunicorn 22 logs an error when it stops its workers; waitress logs that the machine is busy; Bokeh
# 3.10 warns if a periodic callback waits for a session that is being discarded.
_OTHERS = re.compile(
    r"BokehUserWarning: reference already known|Worker \(pid:\d+\) was sent SIGTERM!"
    r"|waitress\.queue:Task queue depth|was scheduled to discard but came back to life"
)


class LiveServer(ServerProcess):
    """A WSGI server in a process of its own.

    :param kind: a key of ``COMMANDS``.
    :param app: the site, as ``module:factory()``.
    :param config: for the site, which reads ``SITE_CONFIG``.
    :param args: more arguments of the server.
    :param port: where it listens; 0 is a port of its own choice. Not for cheroot and uWSGI.
    """

    def __init__(
        self, kind: str, app: str, config: dict[str, Any], args: list[str], port: int = 0
    ) -> None:
        self.kind = kind
        self.cookies: dict[str, str] = {}
        """The cookies of the visitor, for each token."""
        names = {"app": app, "path": app.removesuffix("()"), "port": str(port)}
        if "tls" in kind:
            names["cert"], names["key"] = certificate()
        command = [part.format_map(names) for part in COMMANDS[kind]]
        # Tests with the same key must not share a folder.
        self._folder = tempfile.TemporaryDirectory()
        environ = {"SITE_CONFIG": json.dumps(config), "XDG_RUNTIME_DIR": self._folder.name}
        # The application comes last for gunicorn; options may follow it in both.
        super().__init__([*command, *args], environ)
        if "tls" in kind:
            self.url = f"https://{self.address}"

    def until_logged(self, text: str) -> None:
        """Wait for a text in the log, which may arrive after the response."""
        eventually(lambda: text in self.log, f"{text!r} in the log")

    @property
    def trouble(self) -> str:
        """The lines of the log that do not belong to normal use."""
        return "".join(
            line for line in self.lines if _TROUBLE.search(line) and not _OTHERS.search(line)
        )

    def trouble_except(self, *expected: str) -> list[str]:
        """Return the lines of trouble that contain none of the expected texts."""
        lines = self.trouble.splitlines()
        return [line for line in lines if not any(text in line for text in expected)]

    def get(self, path: str, **headers: str) -> str:
        """Get a page as a new visitor, unless the headers have a Cookie."""
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=self.context) as response:
            html = str(response.read().decode())
            new = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", [])]
        cookies = "; ".join([*filter(None, [headers.get("Cookie")]), *new])
        self.cookies.update(dict.fromkeys(tokens_in(html), cookies))
        return html

    def post(self, path: str) -> str:
        address = self.url + path
        with urllib.request.urlopen(address, b"", TIMEOUT, context=self.context) as response:
            return str(response.read().decode())

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context of clients that trust the server."""
        return trusting() if self.url.startswith("https") else None

    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/stats")))

    def token(self, path: str = "/") -> str:
        """Return the session token in a page."""
        return tokens_in(self.get(path))[0]

    def stop(self, how: signal.Signals | None = None, timeout: float = TIMEOUT) -> int:
        """Stop the server as its users do, with Ctrl-C if it does not handle SIGTERM."""
        # On SIGINT a gunicorn gthread worker can hang in its own signal handler for ever.
        by_hand = self.kind.startswith(("werkzeug", "waitress"))
        code = super().stop(how or (signal.SIGINT if by_hand else signal.SIGTERM), timeout)
        self._folder.cleanup()
        return code


Live = Callable[..., LiveServer]
