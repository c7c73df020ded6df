"""Requests for pages and files: paths, other sites' frames and scripts, prefetches."""

from __future__ import annotations

import json
import re

import pytest

from ..support.browser import Tab
from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"
PARTNER = "https://other.example"


@pytest.mark.parametrize(
    "path",
    [
        "/bokeh/others/static/../secret.txt",
        "/bokeh/others/static/%2e%2e/secret.txt",
        "/bokeh/others/static/..%2fsecret.txt",
        "/bokeh/others/static/..%5csecret.txt",
        "/bokeh/others/static/%252e%252e%252fsecret.txt",
        "/bokeh/others/static/%c0%ae%c0%ae/secret.txt",
        "/bokeh/others/static/....//secret.txt",
        "/bokeh/others/static//secret.txt",
        "/bokeh/others/static/./../main.py",
        "/bokeh/others/static/../../files/static/own.txt",
        "/bokeh/others/static/..%2f..%2ffiles%2fstatic%2fown.txt",
        "/bokeh/others/../files/static/own.txt",
        "/bokeh/others%2f..%2ffiles/static/own.txt",
        "/bokeh/others/static/own.txt%00.js",
        "/bokeh/others/static/%00",
        "/bokeh/static/../../../pyproject.toml",
        "/bokeh/static/..%2f..%2f..%2fpyproject.toml",
        "/bokeh/static/extensions/..%2f..%2fx/y.js",
        "/bokeh/static//etc/passwd",
        "/bokeh/files/static/own.txt",  # refused by its guard
    ],
)
def test_paths_cannot_leave_the_static_folder(visitor: Visitor, path: str) -> None:
    """No path, in any encoding, leaves an application's static folder or avoids its guard."""
    head = f"GET {path} HTTP/1.1\r\nHost: {visitor.site.address}\r\nConnection: close\r\n\r\n"
    with visitor.send(head.encode()) as answer:
        assert answer.status in (308, 400, 403, 404)
        body = answer.sock.recv(65536)
        assert b"not for you" not in body
        assert b"of files" not in body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}, 200),  # a link
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "iframe"}, 200),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Dest": "document"}, 200),
        ({}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "empty"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "frame"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "object"}, 403),
        ({"Sec_Purpose": "prefetch"}, 503),
        ({"Sec_Purpose": "prefetch;prerender", "Sec_Fetch_Site": "same-origin"}, 503),
        ({"Purpose": "prefetch"}, 503),
        ({"X_Moz": "prefetch"}, 503),
    ],
)
def test_page_is_refused_to_scripts_frames_and_prefetches(
    visitor: Visitor, headers: dict[str, str], status: int
) -> None:
    """A page that a script fetches, another site frames or a browser prefetches is refused."""
    before = json.loads(visitor.get("/stats").text)["reservations"]
    answer = visitor.get("/bokeh/page", **headers)
    assert answer.status == status
    reservations = json.loads(visitor.get("/stats").text)["reservations"]
    assert reservations <= before if status != 200 else True
    assert "BOKEH" not in answer.text or status == 200


def test_plot_script_is_refused_to_unlisted_sites(visitor: Visitor) -> None:
    """A page of an unlisted site cannot fetch the script of a plot."""
    fetched = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "script"}
    script = "/bokeh/page/autoload.js?bokeh-autoload-element=e"
    assert visitor.get(script, **fetched).status == 403
    assert visitor.get(script, **fetched, Origin="https://evil.com").status == 403
    assert visitor.get(script, Sec_Fetch_Site="same-origin").status == 200


@pytest.fixture(scope="module")
def browsed(module_live: Live) -> LiveServer:
    """A site for the tests in a browser."""
    return module_live("gunicorn-gthread", APP, clean=False)


def test_page_in_a_frame_on_another_site_is_refused(browsed: LiveServer, tab: Tab) -> None:
    """A page in a frame on another site gets a 403 and creates no session."""
    site = browsed
    before = stats_of(site)["reservations"]
    tab.page.goto(f"{site.url.replace('127.0.0.1', 'localhost')}/plain")
    with tab.page.expect_response("**/bokeh/page") as answered:
        tab.page.evaluate(
            "url => document.body.append(Object.assign(document.createElement('iframe'), "
            "{src: url}))",
            f"{site.url}/bokeh/page",
        )
    assert answered.value.status == 403
    assert stats_of(site)["reservations"] <= before
    site.until_logged("to a frame of another site; see BOKEH_ALLOW_WS_ORIGIN")
    tab.until_message("403")
    tab.forgive("403")


@pytest.fixture(scope="module")
def partner_site(module_live: Live) -> LiveServer:
    """A site that lists another one in BOKEH_ALLOW_WS_ORIGIN."""
    return module_live("gunicorn-sync", APP, config={"BOKEH_ALLOW_WS_ORIGIN": [PARTNER]})


def test_listed_site_may_frame_a_page(partner_site: LiveServer) -> None:
    """Sites in BOKEH_ALLOW_WS_ORIGIN may frame the page of an application."""
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}
    answer = Visitor(partner_site).get("/bokeh/page", **framed)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == f"frame-ancestors 'self' {PARTNER}"


def test_page_fetched_ahead_creates_no_session(browsed: LiveServer, tab: Tab) -> None:
    """Chromium's prefetch creates no session, and the page works when it is visited."""
    site = browsed
    before = stats_of(site)["reservations"]
    tab.page.goto(f"{site.url}/plain")
    with tab.page.expect_response("**/bokeh/page") as answered:
        tab.page.evaluate(
            "document.head.append(Object.assign(document.createElement('link'), "
            "{rel: 'prefetch', href: '/bokeh/page'}))"
        )
    assert answered.value.status == 503
    assert stats_of(site)["reservations"] <= before
    tab.until_message("503")
    tab.forgive("503")
    tab.open(f"{site.url}/bokeh/page")
    tab.move_slider()
    tab.until_title("k=2")


def stats_of(site: LiveServer) -> dict[str, int]:
    """Return the counters of the site's process."""
    return dict(json.loads(Visitor(site).get("/stats").text))


def test_script_for_a_listed_site_opens_a_plot(partner_site: LiveServer) -> None:
    """The script for a listed site has a token that opens a plot without a cookie."""
    site = partner_site
    script = "/bokeh/page/autoload.js?bokeh-autoload-element=e"
    answer = Visitor(site).get(script, Origin=PARTNER, Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PARTNER
    token = re.findall(r"""["']token["']:["']([\w.-]+)["']""", answer.text)[0]
    assert Visitor(site).status(token, "/page", Origin=PARTNER) == 101
    evil = Visitor(site).get(script, Origin="https://evil.com", Sec_Fetch_Site="cross-site")
    assert evil.status == 403


def test_too_long_query_is_answered_414(visitor: Visitor) -> None:
    """A query that is too long gets a 414."""
    assert visitor.get(f"/bokeh/page?x={'a' * 3000}").status == 414
