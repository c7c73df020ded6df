"""A site behind nginx with the configuration that ``flask bokeh nginx`` prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..support import ROOT
from ..support.browser import Tab
from ..support.certificates import certificate
from ..support.nginx import running_nginx
from ..support.programs import find_nginx
from ..support.servers import COMMANDS, SITE, Live, LiveServer
from ..support.sockets import RefusedError, connect

pytestmark = pytest.mark.skipif(
    find_nginx() is None, reason="nginx is not here, and could not be installed without root"
)

Proxied = Callable[..., "Proxy"]


@dataclass(frozen=True)
class Proxy:
    """nginx in front of a live server."""

    site: LiveServer
    address: str
    url: str

    def front(self) -> LiveServer:
        """The site, as clients see it through nginx."""
        front = copy(self.site)
        front.url, front.address = self.url, self.address
        return front


@contextmanager
def running_proxy(
    site: LiveServer,
    options: tuple[str, ...],
    edit: tuple[str, str],
    config: dict[str, object],
    clean: bool,
) -> Iterator[Proxy]:
    """Run nginx in front of a site; its log must stay clean."""

    def configure(address: str) -> str:
        command = ["-m", "flask", "--app", SITE, "bokeh", "nginx"]
        addresses = ["--upstream", site.address, "--listen", address]
        printed = subprocess.run(
            [sys.executable, *command, *addresses, *options],
            cwd=ROOT,
            env={**os.environ, "SITE_CONFIG": json.dumps(config)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert printed.stderr == ""
        assert edit[0] in printed.stdout
        return printed.stdout.replace(*edit)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers may be another user
        with running_nginx(folder, configure) as address:
            scheme = "https" if "--cert" in options else "http"
            yield Proxy(site, address, f"{scheme}://{address}")
        log = (folder / "error.log").read_text().splitlines()
    trouble = [line for line in log if "[notice]" not in line and "[info]" not in line]
    assert trouble == [] or not clean


@pytest.fixture
def proxied(live: Live) -> Iterator[Proxied]:
    """Start a site and nginx in front of it."""
    with ExitStack() as stack:

        def start(
            *options: str,
            edit: tuple[str, str] = ("server {", "server {"),
            config: dict[str, object] | None = None,
            kind: str = "gunicorn-gthread",
            clean: bool = True,
        ) -> Proxy:
            site = live(kind, config={"PROXIES": 1, **(config or {})}, clean=clean)
            proxy = running_proxy(site, options, edit, config or {}, clean)
            return stack.enter_context(proxy)

        yield start


def live_and_personal(tab: Tab, url: str) -> None:
    tab.open(f"{url}/mine?user=ann")
    assert tab.title() == "made for ann"
    tab.move_slider(2)
    tab.until_title("made for ann k=3")
    tab.open(f"{url}/hook?user=bob")
    tab.move_slider()
    tab.until_title("for bob 2024 Lyon k=2")


@pytest.mark.parametrize("kind", ["gunicorn-sync", "uwsgi", "flask-bokeh-run"])
def test_plain(proxied: Proxied, tab: Tab, kind: str) -> None:
    """Plots are live and personal behind a proxy."""
    assert kind in COMMANDS
    live_and_personal(tab, proxied(kind=kind).url)


def test_tls(proxied: Proxied, tab: Tab) -> None:
    """The page's scheme is known and its origin accepted when nginx terminates TLS."""
    cert, key = certificate()
    live_and_personal(tab, proxied("--cert", cert, "--key", key).url)


def test_a_sub_path(proxied: Proxied, tab: Tab) -> None:
    """Pages, static files and WebSockets work under the sub-path /shop."""
    proxy = proxied("--path", "/shop")
    live_and_personal(tab, f"{proxy.url}/shop")
    assert "GET /bokeh/sliders/ws" in proxy.site.log


def test_a_proxy_that_passes_no_upgrade(proxied: Proxied) -> None:
    """The log names the Upgrade header that a proxy leaves out."""
    proxy = proxied(edit=("proxy_set_header Upgrade $flask_bokeh_upgrade;", ""), clean=False)
    front = proxy.front()
    with pytest.raises(RefusedError, match="400"):
        connect(front, "/hooked", front.token("/hook"))
    proxy.site.until_logged("a proxy in front leaves out its header Upgrade")


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.2"])
def test_other_upgrades(proxied: Proxied, upgrade: str) -> None:
    """nginx forwards only pure WebSocket upgrades, as h2c would bypass the proxy's rules."""
    proxy = proxied(kind="gunicorn-sync", clean=False)
    hop = {"Upgrade": upgrade, "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMA"}
    request = urllib.request.Request(f"{proxy.url}/upgrade", headers=hop)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer) == {"upgrade": None, "connection": "close"}


def test_a_short_time_out(proxied: Proxied, tab: Tab) -> None:
    """A socket with keep-alive every second outlives a proxy timeout of 3 s."""
    proxy = proxied(
        edit=("proxy_read_timeout 90s", "proxy_read_timeout 3s"),
        config={"BOKEH_SERVER_OPTIONS": {"keep_alive_milliseconds": 1000}},
    )
    tab.open(f"{proxy.url}/hook?user=ann")
    time.sleep(7)  # the idle time under test
    tab.move_slider()
    tab.until_title("for ann 2024 Lyon k=2")
    assert proxy.site.log.count("/hooked/ws") == 1  # still the first socket


def test_thirty_megabytes_from_a_client(proxied: Proxied) -> None:
    """Messages through the proxy are limited by BOKEH_MAX_MESSAGE_SIZE only."""
    size = {"BOKEH_MAX_MESSAGE_SIZE": 40 * 1024 * 1024}
    for config, outcome in ((size, "OK"), ({}, None)):
        proxy = proxied(config=config, clean=outcome is not None)
        front = proxy.front()
        with connect(front, "/tiny", front.token("/tiny/direct")) as client:
            if outcome is not None:
                assert client.send_big(30_000_000) == outcome
            else:
                told = "the message is too large"
                assert client.announce_big(30_000_000) == (1009, told)


def test_uploads(proxied: Proxied) -> None:
    """Uploads through the proxy are limited by the site's MAX_CONTENT_LENGTH only."""
    proxy = proxied(config={"MAX_CONTENT_LENGTH": 5_000_000}, kind="gunicorn-sync", clean=False)
    for size, status in ((4_000_000, 200), (6_000_000, 413)):
        request = urllib.request.Request(f"{proxy.url}/length", b"x" * size)
        opener = urllib.request.build_opener(Whatever)
        with opener.open(request, timeout=20) as answer:
            assert answer.status == status
            assert (answer.read() == str(size).encode()) == (status == 200)


class Whatever(urllib.request.HTTPErrorProcessor):
    """Return error responses instead of raising HTTPError."""

    def http_response(self, request: object, response: object) -> Any:
        return response


def test_thirty_megabytes(proxied: Proxied, tab: Tab) -> None:
    """A click sends a data source of 30 MB to the browser."""
    proxy = proxied()
    tab.open(f"{proxy.url}/big")
    tab.page.get_by_role("button", name="more").click()
    tab.page.get_by_role("button", name="done").wait_for(timeout=60_000)
    size = "Bokeh.documents[0].get_model_by_name('source').data.x.length"
    assert tab.page.evaluate(size) == 30_000_000 / 8
