"""Static files of BokehJS, extensions and applications."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh
from flask_bokeh.bokeh_api.v3 import bundles

from ..support import ROOT


def test_bokehjs_is_cached_for_ever(site: FlaskClient) -> None:
    """A file is cached for a year with the hash of its content, and revalidated otherwise."""
    urls = re.findall(r'src="(/bokeh/static/[^"]+)"', site.get("/bokeh/open?year=1").text)
    assert len(urls) == 6  # five of BokehJS, one of ours
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


def test_file_that_changes_is_not_cached_under_its_old_hash(
    site: FlaskClient, tmp_path: Path
) -> None:
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


def test_static_folder_of_an_application_is_served(site: FlaskClient) -> None:
    """Applications without a folder have no static files."""
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
def test_path_traversal_finds_no_file(site: FlaskClient, path: str) -> None:
    """Plain and encoded paths stay within the static folder."""
    assert site.get(path, buffered=True).status_code in (404, 308)


def test_files_of_a_bokeh_extension_are_served(
    site: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files come from the folder that the extension registered."""
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


@pytest.mark.live
def test_urls_of_extension_files_have_content_hashes(tmp_path: Path) -> None:
    """Bokeh's own URLs have a hash of the version number, which is not cached."""
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
def test_bokehjs_is_read_once_for_all_host_names(app: Flask, bokeh: FlaskBokeh, mode: str) -> None:
    """The script's URLs follow the host, and no copy is kept for each host."""
    app.config["BOKEH_RESOURCES"] = mode
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    script = "/bokeh/x/autoload.js?bokeh-autoload-element=e"
    app.test_client().get(script)
    before = bundles._bundle.cache_info()
    for number in range(8):
        text = app.test_client().get(script, base_url=f"http://h{number}.test/p{number}").text
        own = f"http://h{number}.test/p{number}/bokeh/static/js/bokeh.min.js?v="
        assert (own in text) == (mode == "server")
        assert "h7.test" not in text or number == 7
    after = bundles._bundle.cache_info()
    assert (after.misses, after.currsize) == (before.misses, before.currsize)
