"""The blueprint, as a client of HTTP sees it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.models import Slider
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh
from flask_bokeh.bokeh_api.v3 import embed
from flask_bokeh.web import request as asked

from .conftest import ROOT, tokens_in


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> FlaskClient:
    @bokeh.application("/hidden")
    def hidden(doc: Document) -> None:
        doc.add_root(Slider(start=0, end=1, value=0))

    @bokeh.application("/open", page=True)
    def public(doc: Document) -> None:
        hidden(doc)
        doc.title = f"year {doc.session_context.request.arguments['year'][0].decode()}"  # type: ignore[union-attr,attr-defined]

    folder = tmp_path / "folder"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "own.txt").write_text("mine")
    (folder / "secret.txt").write_text("not for you")
    (folder / "main.py").write_text("")
    bokeh.add_application("/folder", folder)
    application = Application(FunctionHandler(hidden), metadata={"by": "us"})
    bokeh.add_application("/team/meta", application, page=True)
    bokeh.init_app(app)
    return app.test_client()


def test_bokehjs_is_cached_for_ever(site: FlaskClient) -> None:
    """Files with the hash of their content are cached for a year; others are checked each time."""
    urls = re.findall(r'src="(/bokeh/static/[^"]+)"', site.get("/bokeh/open?year=1").text)
    assert len(urls) == 5
    for url in urls:
        versioned = site.get(url, buffered=True)
        assert versioned.status_code == 200
        assert "immutable" in versioned.headers["Cache-Control"]
        assert "max-age=31536000" in versioned.headers["Cache-Control"]
    path, _, version = urls[0].partition("?v=")
    wrong = version.translate(str.maketrans("0123456789", "1234567890"))
    for query in ("", "?v=abc", "?v=", f"?v={wrong}", f"?v={version[:64]}", f"?v=a&v={version}"):
        plain = site.get(path + query, buffered=True)
        assert plain.headers["Cache-Control"] == "no-cache"
        again = site.get(
            path + query, headers={"If-None-Match": plain.headers["ETag"]}, buffered=True
        )
        assert again.status_code == 304


def test_a_file_that_changes(site: FlaskClient, tmp_path: Path) -> None:
    """The hash of yesterday's file makes nobody keep today's under its name."""
    file, url = tmp_path / "folder" / "static" / "own.txt", "/bokeh/folder/static/own.txt"
    yesterday = hashlib.sha512(b"mine").hexdigest()
    answer = site.get(f"{url}?v={yesterday}", buffered=True)
    assert "immutable" in answer.headers["Cache-Control"]
    file.write_text("mine, changed")
    answer = site.get(f"{url}?v={yesterday}", buffered=True)
    assert answer.headers["Cache-Control"] == "no-cache"
    today = hashlib.sha512(b"mine, changed").hexdigest()
    answer = site.get(f"{url}?v={today}", buffered=True)
    assert "immutable" in answer.headers["Cache-Control"]


def test_an_applications_own_files(site: FlaskClient) -> None:
    """A directory application's static folder is served, and nothing beside it."""
    assert site.get("/bokeh/folder/static/own.txt", buffered=True).text == "mine"
    assert site.get("/bokeh/hidden/static/own.txt", buffered=True).status_code == 404
    assert site.get("/bokeh/nope/static/own.txt", buffered=True).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/bokeh/static/../__init__.py",
        "/bokeh/static/%2e%2e/__init__.py",
        "/bokeh/static/..%2f__init__.py",
        "/bokeh/static/%252e%252e/__init__.py",
        "/bokeh/static//etc/passwd",
        "/bokeh/folder/static/../secret.txt",
        "/bokeh/folder/static/..%2fsecret.txt",
        "/bokeh/static/extensions/x/y.js",
        "/bokeh/static/extensions/../js/bokeh.js",
    ],
)
def test_no_way_out_of_a_static_folder(site: FlaskClient, path: str) -> None:
    """Traversal, plain or encoded, finds nothing."""
    assert site.get(path, buffered=True).status_code in (404, 308)


def test_extensions_files(
    site: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a Bokeh extension come from the folder that it registered."""
    from bokeh.embed.bundle import extension_dirs

    (tmp_path / "ext.js").write_text("1")
    monkeypatch.setitem(extension_dirs, "ext", tmp_path)
    assert site.get("/bokeh/static/extensions/ext/ext.js", buffered=True).text == "1"


WITH_EXTENSION = """
import hashlib, re, ours
from flask import Flask
from flask_bokeh import FlaskBokeh

app, bokeh = Flask("site"), FlaskBokeh()
app.secret_key = "x" * 20
bokeh.add_application("/x", lambda doc: None, page=True)
bokeh.init_app(app)
client = app.test_client()
(url,) = re.findall(r'src="([^"]+/ours\\.js[^"]*)"', client.get("/bokeh/x").text)
by_number = url.partition("?")[0] + "?v=" + hashlib.sha256(b"1.0").hexdigest()
for one in (url, by_number):
    answer = client.get(one)
    print(answer.text, answer.headers["Cache-Control"])
bokeh.stop()
"""


def test_the_version_of_an_extensions_files(tmp_path: Path) -> None:
    """Their URLs carry the hash of their content; Bokeh's is one of the version number."""
    package = tmp_path / "ours"
    (package / "dist").mkdir(parents=True)
    (package / "bokeh.ext.json").write_text("{}")
    (package / "package.json").write_text('{"name": "ours", "version": "1.0"}')
    (package / "dist" / "ours.js").write_text("1")
    (package / "__init__.py").write_text(
        "from bokeh.model import Model\n\n\nclass Ours(Model):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITH_EXTENSION],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first, second = done.stdout.splitlines()
    assert first == "1 public, max-age=31536000, immutable", done.stderr
    assert second == "1 no-cache"


@pytest.mark.parametrize("mode", ["server", "inline"])
def test_bokehjs_is_read_once(app: Flask, bokeh: FlaskBokeh, mode: str) -> None:
    """However many names a client gives the site, its URLs follow, and nothing more is kept."""
    app.config["BOKEH_RESOURCES"] = mode
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    script = "/bokeh/x/autoload.js?bokeh-autoload-element=e"
    app.test_client().get(script)
    before = embed._bundle.cache_info()
    for number in range(40):
        text = app.test_client().get(script, base_url=f"http://h{number}.test/p{number}").text
        own = f"http://h{number}.test/p{number}/bokeh/static/js/bokeh.min.js?v="
        assert (own in text) == (mode == "server")
        assert "h39.test" not in text or number == 39
    after = embed._bundle.cache_info()
    assert (after.misses, after.currsize) == (before.misses, before.currsize)


def test_applications_have_no_page_unless_they_want_one(site: FlaskClient, app: Flask) -> None:
    """Page, autoload.js and metadata answer for page=True only; in debug the 404 says so."""
    for suffix in ("", "/autoload.js?bokeh-autoload-element=e", "/metadata"):
        assert site.get(f"/bokeh/hidden{suffix}").status_code == 404
        assert site.get(f"/bokeh/open{suffix}", query_string=None).status_code in (200, 400)
    app.debug = True
    assert "page=True" in site.get("/bokeh/hidden").text
    assert site.get("/bokeh/").status_code == 404


def test_a_page_of_its_own(site: FlaskClient) -> None:
    """The page is Bokeh's, with our URLs, the query as arguments, and a token."""
    response = site.get("/bokeh/open?year=2024")
    assert "<title>year 2024</title>" in response.text
    assert "/bokeh/static/js/bokeh.min.js?v=" in response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert len(tokens_in(response.text)) == 1


def test_autoload(site: FlaskClient) -> None:
    """autoload.js loads BokehJS and shows a session, from this host."""
    response = site.get("/bokeh/open/autoload.js?bokeh-autoload-element=e1&year=1")
    assert response.mimetype == "application/javascript"
    assert response.headers["Cache-Control"] == "no-store"
    assert "http://localhost/bokeh/static/js/bokeh.min.js" in response.text
    assert '"http://localhost"' in response.text
    assert len(tokens_in(response.text)) == 1
    bare = site.get("/bokeh/open/autoload.js?bokeh-autoload-element=e1&resources=none")
    assert "bokeh.min.js" not in bare.text


@pytest.mark.parametrize("element", ["", "a'b", "<x>", "1a"])
def test_autoload_wants_an_element(site: FlaskClient, element: str) -> None:
    """The element's id goes into a script, so it must be one."""
    response = site.get("/bokeh/open/autoload.js", query_string={"bokeh-autoload-element": element})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.test"}, 200),
    ],
)
def test_autoload_is_not_for_other_sites(
    headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Another site's page gets a visitor's token only if it is on the list; the log tells."""
    other, extension = Flask("other"), FlaskBokeh(allow_ws_origin=["https://friend.test"])
    other.secret_key = "x" * 20
    extension.add_application("/open", lambda doc: None, page=True)
    extension.init_app(other)
    response = other.test_client().get(
        "/bokeh/open/autoload.js?bokeh-autoload-element=e", headers=headers
    )
    assert response.status_code == status
    allowed = response.headers.get("Access-Control-Allow-Origin")
    assert allowed == (headers.get("Origin") if status == 200 else None)
    assert ("see BOKEH_ALLOW_WS_ORIGIN" in caplog.text) == (status == 403)


def test_metadata(site: FlaskClient) -> None:
    """What the application says of itself, and its path."""
    assert site.get("/bokeh/team/meta/metadata").json == {"url": "/team/meta", "data": {"by": "us"}}


def upgrade(site: FlaskClient, path: str, token: str, **headers: str) -> Any:
    base = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Origin": "http://localhost",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"bokeh, {token}",
    }
    merged = {**base, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return site.get(path, headers={name: value for name, value in merged.items() if value})


def test_an_upgrade_is_judged(
    site: FlaskClient, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Origin, token and application are checked; the log says why, the client is told little."""
    html = site.get("/bokeh/open?year=1").text
    token = tokens_in(html)[0]
    assert upgrade(site, "/bokeh/open/ws", token).status_code == 501  # no socket in a test client
    assert "does not hand out its clients' sockets" in caplog.text
    for path, offered, headers, reason in [
        ("/bokeh/open/ws", token, {"Origin": "http://evil.test"}, "ProxyFix"),
        ("/bokeh/open/ws", token, {"Origin": ""}, "Origin None"),
        ("/bokeh/hidden/ws", token, {}, "another application"),
        ("/bokeh/open/ws", token + "x", {}, "wrong signature"),
        ("/bokeh/open/ws", "", {}, "wrong signature"),
        ("/bokeh/open/ws", token, {"Sec_WebSocket_Protocol": "x"}, "no Bokeh session"),
    ]:
        caplog.clear()
        response = upgrade(site, path, offered, **headers)
        assert response.status_code == 403
        assert response.text == "This plot can't be opened here.\n"
        assert f"Refused a WebSocket of {path[6:-3]}" in caplog.text
        assert reason in caplog.text
        assert token not in caplog.text
    assert upgrade(site, "/bokeh/nope/ws", token).status_code == 404
    app.debug = True
    assert "wrong signature" in upgrade(site, "/bokeh/open/ws", "").text


def test_a_pulled_session_that_has_gone(app: Flask, site: FlaskClient, bokeh: FlaskBokeh) -> None:
    """A pulled session is never silently replaced by a fresh one: its socket is refused."""
    bokeh.user_loader(lambda: "ann")
    with app.test_request_context():
        with bokeh.pull_session("/hidden") as session:
            pass
        bokeh.stop()
    response = upgrade(site, "/bokeh/hidden/ws", session.token.encoded)
    assert response.status_code == 410
    assert "has ended" in response.text


def test_a_websockets_address_as_a_page(site: FlaskClient) -> None:
    """A plain request for a WebSocket's address is told to upgrade."""
    response = site.get("/bokeh/open/ws")
    assert response.status_code == 400
    assert response.text == "A WebSocket is opened here.\n"


def test_the_visible_headers(app: Flask) -> None:
    """An application sees the same headers whether its session is pulled or handed over."""
    from flask_bokeh.hijack.upgrade_request import _FORWARDED

    assert set(asked._VISIBLE_HEADERS) <= set(_FORWARDED)
    with app.test_request_context(headers={"Cookie": "a=b", "Authorization": "x"}):
        assert asked.visible_headers() == {"Host": "localhost", "Cookie": "a=b"}


@pytest.mark.parametrize("host", ["a b", "", "x" * 300, "ä", "[::1"])
def test_a_nonsense_host(app: Flask, bokeh: FlaskBokeh, host: str) -> None:
    """A view that pulls a session does not fall over a Host that is none."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context(environ_overrides={"HTTP_HOST": host}), bokeh.pull_session("/x"):
        pass
