"""Sites with several hosts: Flask's host matching and subdomains."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError

import pytest
from flask import Blueprint, Flask, url_for

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.html import tokens_in
from ..support.servers import Live, LiveServer

APPS = {
    "host matching": "tests.live_apps.tenants:by_host()",
    "subdomains": "tests.live_apps.tenants:by_subdomain()",
}
TENANTS = {"host matching": ["ann"], "subdomains": ["ann", ""]}
WARNING = "Current server name 'elsewhere.test' doesn't match"


def start(module_live: Live, server: str, kind: str) -> LiveServer:
    """Start a server whose log holds no trouble except Werkzeug's warning of a foreign host."""
    return module_live(server, APPS[kind], expected=[WARNING])


def address(site: LiveServer, tenant: str) -> str:
    """Return the URL of a tenant; browsers resolve names under localhost to this machine."""
    port = site.address.rpartition(":")[2]
    return f"http://{tenant}{'.' if tenant else ''}localhost:{port}"


@pytest.mark.parametrize("server", ["gunicorn-gthread", "flask-bokeh-run"])
@pytest.mark.parametrize("kind", APPS)
def test_plot_is_live_on_each_host(module_live: Live, tab: Tab, server: str, kind: str) -> None:
    """Load BokehJS, run a callback, and open an application's own page on each tenant's host."""
    site = start(module_live, server, kind)
    for tenant in TENANTS[kind]:
        tab.open(f"{address(site, tenant)}/")
        tab.until_title(f"plot of {tenant or 'front'}")
        tab.move_slider()
        tab.until_title("moved to 2")
        tab.open(f"{address(site, tenant)}/bokeh/x?tenant=page")
        tab.until_title("plot of page")
    tab.forgive("favicon", "404")


@pytest.mark.parametrize("kind", APPS)
def test_page_opens_websockets_of_its_own_host_only(module_live: Live, kind: str) -> None:
    """Refuse a token on another tenant's host or page; keep URLs on the page's own host."""
    import websocket

    site = start(module_live, "gunicorn-gthread", kind)
    mine, other = (address(site, name).removeprefix("http://") for name in ("ann", "bob"))

    def get(path: str, host: str) -> tuple[str, str]:
        request = urllib.request.Request(site.url + path, headers={"Host": host})
        with urllib.request.urlopen(request, timeout=60) as response:
            cookie = (response.headers["Set-Cookie"] or "").partition(";")
            return response.read().decode(), cookie[0]

    html, cookie = get("/", mine)
    (token,) = tokens_in(html)

    def connect(host: str, origin: str) -> websocket.WebSocket:
        return websocket.create_connection(
            f"ws://{site.address}/bokeh/x/ws",
            host=host,
            subprotocols=["bokeh", token],
            origin=f"http://{origin}",
            cookie=cookie,
            timeout=60,
        )

    for host, origin in ((mine, other), (other, mine)):
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            connect(host, origin)
    client = connect(mine, mine)
    assert "ACK" in client.recv()
    client.close()
    assert json.loads(get("/urls", mine)[0]) == ["/bokeh/x", "/bokeh/static/js/bokeh.min.js"]
    if kind == "subdomains":  # the site itself does not answer elsewhere
        with pytest.raises(HTTPError, match="404"):
            get("/bokeh/static/js/bokeh.min.js", "elsewhere.test")


@pytest.mark.parametrize("first", [True, False], ids=["before init_app", "after init_app"])
def test_site_may_have_a_blueprint_named_bokeh(app: Flask, bokeh: FlaskBokeh, first: bool) -> None:
    """The site's blueprint may be registered before or after init_app()."""
    own = Blueprint("bokeh", __name__)
    own.add_url_rule("/own", "page", lambda: "own")
    bokeh.add_application("/x", lambda doc: None, page=True)
    if first:
        app.register_blueprint(own)
    bokeh.init_app(app)
    if not first:
        app.register_blueprint(own)
    with app.test_request_context():
        assert url_for("bokeh.page") == "/own"
        assert url_for("flask_bokeh.page", application="x") == "/bokeh/x"
