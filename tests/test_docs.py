"""The documentation is true: its code runs, its tables are those of the code."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.plotting import figure
from flask import Flask, render_template_string, session
from flask_login import LoginManager, login_required
from werkzeug.exceptions import Unauthorized

from flask_bokeh import FlaskBokeh
from flask_bokeh.hijack.adapters import ADAPTERS
from flask_bokeh.settings import _FROM_BOKEH, Settings

from .conftest import ROOT, SERVERS, Live, Tab
from .test_csp import POLICY

README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readmes_page(live: Live, tab: Tab, tmp_path: Path) -> None:
    """The complete page of the README runs as it is, and does what is said beside it."""
    (code,) = blocks(README, "python")
    name = code.splitlines()[0].removeprefix("# ").removesuffix(".py")
    (tmp_path / f"{name}.py").write_text(code)
    assert f"flask --app {name} run" in README
    found = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        name,
        "routes",
    ]
    subprocess.run(found, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    site = live("werkzeug", str(tmp_path / f"{name}.py"))
    tab.open(f"{site.url}/?user=Ann")
    assert tab.title() == "Powers for Ann"
    tab.open(f"{site.url}/mine")
    model = "Bokeh.documents[0].get_model_by_name"
    assert tab.page.evaluate(f"{model}('power').value") == 3
    tab.move_slider()
    y = f"{model}('plot').renderers[0].data_source.data.y"
    tab.page.wait_for_function(f"Array.from({y}).join() == '0,1,16,81'")
    tab.forgive("404")  # no favicon


def test_the_readme_is_short() -> None:
    """At most 120 lines, and every file it points to exists."""
    assert len(README.splitlines()) <= 120
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_readmes_commands() -> None:
    """The two commands are targets of the Makefile, and CI calls the second."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_settings_are_those_of_the_code() -> None:
    """docs/settings.md is what docs/make_settings.py writes."""
    made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))
    assert (ROOT / "docs" / "settings.md").read_text() == made["page"]()
    assert made["FROM_ENVIRONMENT"] == set(_FROM_BOKEH)


def test_the_page_on_sessions(app: Flask, bokeh: FlaskBokeh) -> None:
    """The code of docs/sessions.md runs in a site that has what it needs."""
    text = (ROOT / "docs" / "sessions.md").read_text()

    @bokeh.application("/sales")
    def sales(doc: Document) -> None:
        doc.add_root(figure(name="plot"))

    names: dict[str, Any] = {
        "app": app,
        "bokeh": bokeh,
        "render_template_string": render_template_string,
    }
    for code in blocks(text, "python"):
        exec(code, names)
    bokeh.init_app(app)
    client = app.test_client()
    assert client.get("/report").text.count('class="flask-bokeh"') == 1
    assert client.get("/only-the-plot").text.count('class="flask-bokeh"') == 1
    assert client.get("/both").text.count('class="flask-bokeh"') == 2
    assert client.get("/year/2024").text.count('class="flask-bokeh"') == 2
    (tag,) = blocks(text, "jinja")
    with app.test_request_context():
        assert "flask-bokeh" in render_template_string(tag)


def test_links_between_the_pages() -> None:
    """Every link in docs leads to a file."""
    for page in (*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_nothing_of_a_machine_is_in_the_files() -> None:
    """No absolute path of a developer's machine is committed."""
    for path in ROOT.rglob("*"):
        if path.suffix in {".py", ".md", ".toml", ".txt", ".html"} and ".venv" not in str(path):
            text = path.read_text()
            assert "/" + "work/" not in text, path
            assert "/" + "root/" not in text, path


def test_the_page_on_servers() -> None:
    """Each server of the table is one of the test matrix, and the other way round."""
    page = (ROOT / "docs" / "servers.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    tested = {name for row in rows for name in re.findall(r"`([\w-]+)`", row[-1])}
    assert tested == set(SERVERS)
    for row in rows:
        has_tls = any(name.endswith("-tls") for name in re.findall(r"`([\w-]+)`", row[-1]))
        assert has_tls == (row[2].strip() == "yes"), row
    for adapter in ADAPTERS:
        assert any(adapter.name in row[0] for row in rows)


def test_the_page_on_security(app: Flask, bokeh: FlaskBokeh) -> None:
    """The code of docs/security.md runs, its defaults are the code's, its policy is tested."""
    text = (ROOT / "docs" / "security.md").read_text()
    bokeh.add_application("/salaries", lambda doc: None)
    bokeh.init_app(app)
    LoginManager(app).user_loader(lambda name: None)
    talismans: list[dict[str, Any]] = []
    names = {
        "app": app,
        "bokeh": bokeh,
        "login_required": login_required,
        "session": session,
        "managers": [],
        "Talisman": lambda app, **options: talismans.append(options),
    }
    with app.test_request_context():
        for code in blocks(text, "python"):
            exec(code, names)
        with pytest.raises(Unauthorized):
            render_template_string("{% bokeh '/salaries' %}")
    named = {name.removesuffix("_") for name in re.findall(r"`BOKEH_(\w+)\*?`", text)}
    wanted = {"URL_PREFIX", "APPLICATIONS", "PULL_TRANSPORT", "PULL_TIMEOUT", "START_TIMEOUT"}
    wanted |= {"STOP_TIMEOUT", "BLOCKED_AFTER", "RESOURCES", "MINIFIED", "LOG_LEVEL", "ICO_PATH"}
    wanted |= {"SERVER_OPTIONS", "SSL_CERTFILE", "SSL_KEYFILE", "SSL_PASSWORD"}
    assert {field.name.upper() for field in fields(Settings)} - named <= wanted
    limits = text.partition("## Limits")[2].partition("And these")[0]
    rows = dict(re.findall(r"^\| `BOKEH_(\w+)` \| (.*?) \|", limits, re.MULTILINE))
    defaults = {name: getattr(Settings(), name.lower()) for name in rows}
    shown = {"none": None, "20 MB": 20 * 1024 * 1024}
    assert defaults == {
        name: shown[value] if value in shown else float(value) for name, value in rows.items()
    }
    (talisman,) = talismans
    assert talisman["content_security_policy"] == POLICY  # as in test_csp
    (policy,) = blocks(text, "text")
    told = dict(line.strip(";").split(" ", 1) for line in policy.splitlines())
    assert told.pop("script-src") == f"'nonce-...' {POLICY['script-src']}"
    assert told == {name: value for name, value in POLICY.items() if name != "script-src"}
