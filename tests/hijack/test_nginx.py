"""A site behind nginx with the configuration that ``flask bokeh nginx`` prints."""

from __future__ import annotations

import json
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

from ..live_apps.site import create_app
from ..support.browser import Tab
from ..support.certificates import certificate
from ..support.nginx import running_nginx
from ..support.personal import check_personal
from ..support.programs import find_nginx
from ..support.servers import Live, LiveServer
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


def print_configuration(config: dict[str, object], *arguments: str) -> str:
    """Run ``flask bokeh nginx`` for a site with some settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITE_CONFIG", json.dumps(config))
        printed = create_app().test_cli_runner().invoke(args=["bokeh", "nginx", *arguments])
    assert printed.exit_code == 0, printed.output
    return printed.output


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
        addresses = ["--upstream", site.address, "--listen", address]
        printed = print_configuration(config, *addresses, *options)
        assert edit[0] in printed
        return printed.replace(*edit)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers may be another user
        with running_nginx(folder, configure) as address:
            scheme = "https" if "--cert" in options else "http"
            yield Proxy(site, address, f"{scheme}://{address}")
        log = (folder / "error.log").read_text().splitlines()
    trouble = [line for line in log if "[notice]" not in line and "[info]" not in line]
    assert trouble == [] or not clean


@pytest.fixture(scope="module")
def proxied(module_live: Live) -> Iterator[Proxied]:
    """Start a site and nginx in front of it: one of each for the same arguments."""
    proxies: dict[str, Proxy] = {}
    with ExitStack() as stack:

        def start(
            *options: str,
            edit: tuple[str, str] = ("server {", "server {"),
            config: dict[str, object] | None = None,
            kind: str = "gunicorn-gthread",
            clean: bool = True,
        ) -> Proxy:
            key = repr((options, edit, config, kind, clean))
            if key not in proxies:
                site = module_live(kind, config={"PROXIES": 1, **(config or {})}, clean=clean)
                proxy = running_proxy(site, options, edit, config or {}, clean)
                proxies[key] = stack.enter_context(proxy)
            return proxies[key]

        yield start


PATIENT: dict[str, object] = {
    "BOKEH_MAX_MESSAGE_SIZE": 40 * 1024 * 1024,
    "BOKEH_SERVER_OPTIONS": {"keep_alive_milliseconds": 1000},
}
"""Settings of a site with clean logs, which most tests share."""
STRICT: dict[str, object] = {"MAX_CONTENT_LENGTH": 5_000_000}
"""Settings of a site whose log has the requests that it refuses."""


def check_plots(tab: Tab, url: str, user: str) -> None:
    """Check that a pulled and a hooked session are personal and answer their sliders."""
    tab.open(f"{url}/mine?user={user}")
    assert tab.title() == f"made for {user}"
    tab.move_slider(2)
    tab.until_title(f"made for {user} k=3")
    tab.open(f"{url}/hook?user={user}")
    tab.move_slider()
    tab.until_title(f"for {user} 2024 Lyon k=2")


def test_plots_work_behind_a_proxy(proxied: Proxied, tab: Tab) -> None:
    """Plots are live and personal in a browser behind a proxy."""
    check_plots(tab, proxied(kind="gunicorn-sync").url, "ann")


@pytest.mark.parametrize("kind", ["uwsgi", "flask-bokeh-run"])
def test_sockets_work_behind_a_proxy(proxied: Proxied, kind: str) -> None:
    """Sockets of personal sessions open behind a proxy and answer changes."""
    front = proxied(kind=kind).front()
    check_personal(front, "/mine", "/sliders", "ann", "made for ann")
    check_personal(front, "/hook", "/hooked", "ann", "for ann 2024 Lyon")


def test_plots_work_if_nginx_terminates_tls(proxied: Proxied, tab: Tab) -> None:
    """The page's scheme is known and its origin accepted when nginx terminates TLS."""
    cert, key = certificate()
    check_plots(tab, proxied("--cert", cert, "--key", key, config=PATIENT).url, "bob")


def test_plots_work_below_a_sub_path(proxied: Proxied, tab: Tab) -> None:
    """Pages, static files and WebSockets work under the sub-path /shop."""
    proxy = proxied("--path", "/shop", config=PATIENT)
    check_plots(tab, f"{proxy.url}/shop", "cid")
    assert "GET /bokeh/sliders/ws?user=cid" in proxy.site.log


def test_upgrade_that_a_proxy_leaves_out_is_logged(proxied: Proxied) -> None:
    """The log names the header Upgrade if a proxy leaves it out."""
    edit = ("proxy_set_header Upgrade $flask_bokeh_upgrade;", "")
    proxy = proxied(edit=edit, config=STRICT, clean=False)
    front = proxy.front()
    with pytest.raises(RefusedError, match="400"):
        connect(front, "/hooked", front.token("/hook"))
    proxy.site.until_logged("a proxy in front leaves out its header Upgrade")


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.2"])
def test_other_upgrades_are_not_forwarded(proxied: Proxied, upgrade: str) -> None:
    """nginx forwards only pure WebSocket upgrades, as h2c would bypass the proxy's rules."""
    proxy = proxied(kind="gunicorn-sync")
    hop = {"Upgrade": upgrade, "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMA"}
    request = urllib.request.Request(f"{proxy.url}/upgrade", headers=hop)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer) == {"upgrade": None, "connection": "close"}


def test_idle_socket_outlives_the_proxy_timeout(proxied: Proxied, tab: Tab) -> None:
    """A socket with keep-alive every second outlives a proxy timeout of 3 s."""
    proxy = proxied(edit=("proxy_read_timeout 90s", "proxy_read_timeout 3s"), config=PATIENT)
    tab.open(f"{proxy.url}/hook?user=dan")
    time.sleep(7)  # the idle time under test
    tab.move_slider()
    tab.until_title("for dan 2024 Lyon k=2")
    assert proxy.site.log.count("/hooked/ws?user=dan") == 1  # still the first socket


def test_site_decides_on_the_size_of_messages(proxied: Proxied) -> None:
    """Messages through the proxy are limited by BOKEH_MAX_MESSAGE_SIZE only."""
    front = proxied(config=PATIENT).front()
    with connect(front, "/tiny", front.token("/tiny/direct")) as client:
        assert client.send_big(30_000_000) == "OK"
    front = proxied(config=STRICT, clean=False).front()
    with connect(front, "/tiny", front.token("/tiny/direct")) as client:
        assert client.announce_big(30_000_000) == (1009, "the message is too large")


def test_site_decides_on_the_size_of_uploads(proxied: Proxied) -> None:
    """Uploads through the proxy are limited by the site's MAX_CONTENT_LENGTH only."""
    proxy = proxied(config=STRICT, clean=False)
    for size, status in ((4_000_000, 200), (6_000_000, 413)):
        request = urllib.request.Request(f"{proxy.url}/length", b"x" * size)
        opener = urllib.request.build_opener(ErrorResponses)
        with opener.open(request, timeout=60) as answer:
            assert answer.status == status
            assert (answer.read() == str(size).encode()) == (status == 200)


class ErrorResponses(urllib.request.HTTPErrorProcessor):
    """Return error responses instead of raising HTTPError."""

    def http_response(self, request: object, response: object) -> Any:
        return response


def test_thirty_megabytes_reach_the_browser(proxied: Proxied, tab: Tab) -> None:
    """A click sends a data source of 30 MB to the browser."""
    proxy = proxied(config=PATIENT)
    tab.open(f"{proxy.url}/big")
    tab.page.get_by_role("button", name="more").click()
    tab.page.get_by_role("button", name="done").wait_for()
    size = "Bokeh.documents[0].get_model_by_name('source').data.x.length"
    assert tab.page.evaluate(size) == 30_000_000 / 8
