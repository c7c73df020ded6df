"""The documentation agrees with the code: its code runs, and its tables are complete."""

from __future__ import annotations

import re
import runpy
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bokeh as bokeh_package
import pytest
from bokeh.document import Document
from bokeh.plotting import figure
from flask import Flask, render_template_string, session
from werkzeug.exceptions import Unauthorized

import flask_bokeh
from flask_bokeh import FlaskBokeh
from flask_bokeh.cli import commands
from flask_bokeh.hijack.adapters import ADAPTERS
from flask_bokeh.settings import Settings, key_of, setting_infos

from .support import ROOT
from .support.browser import Tab
from .support.documentation import blocks, files_of, fragments_of
from .support.messages import changed
from .support.servers import SERVERS, Live
from .support.sockets import Socket, connect
from .test_csp import POLICY

README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
TESTED = {"sessions.md", "security.md", "servers.md", "settings.md"}
"""Pages with fragments of Python, which the tests below run; other pages have whole files."""
WAITS = """
from threading import Event

from bokeh.models import Slider
from flask import Flask, render_template_string
from flask_bokeh import FlaskBokeh

app = Flask(__name__)
app.secret_key = "for the tests only"
bokeh = FlaskBokeh(app)
begun, released = Event(), Event()


@bokeh.application("/waits")
def waits(doc):
    def wait(attr, old, new):
        begun.set()
        released.wait(30)

    slow = Slider(start=0, end=9, value=1, name="slow")
    slow.on_change("value", wait)
    doc.add_root(slow)
    doc.add_root(Slider(start=0, end=9, value=1, name="quick"))


@app.get("/")
def index():
    return render_template_string("{% bokeh '/waits' %}")


@app.get("/begun")
def has_begun():
    return str(begun.wait(60))


@app.get("/release")
def release():
    released.set()
    return "released"
"""


def test_site_of_the_readme_runs_as_described(live: Live, tab: Tab, tmp_path: Path) -> None:
    (code,) = blocks(README, "python")
    name = code.splitlines()[0].removeprefix("# ").removesuffix(".py")
    (tmp_path / f"{name}.py").write_text(code)
    assert f"flask --app {name} run" in README
    site = live("werkzeug", str(tmp_path / name))  # as in that folder
    tab.open(f"{site.url}/?user=Ann")
    assert tab.title() == "Powers for Ann"
    tab.open(f"{site.url}/mine")
    model = "Bokeh.documents[0].get_model_by_name"
    assert tab.page.evaluate(f"{model}('power').value") == 3
    tab.move_slider()
    y = f"{model}('plot').renderers[0].data_source.data.y"
    tab.page.wait_for_function(f"Array.from({y}).join() == '0,1,16,81'")
    tab.forgive("404")  # no favicon


def test_readme_is_short_and_its_links_work() -> None:
    """The README has at most 120 lines, and every file that it links to exists."""
    assert len(README.splitlines()) <= 120
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_make_commands_of_the_readme_exist() -> None:
    """The commands are targets of the Makefile, and CI calls ``make test``."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_waiting_callback_blocks_only_its_session(live: Live, tmp_path: Path) -> None:
    """On Bokeh 3.9 a callback that waits blocks all sessions, as the README says."""
    assert "On Bokeh 3.10 a callback that waits holds up only its own session" in README
    assert "On Bokeh 3.9 it [holds up all plots of its process]" in README
    (tmp_path / "waits.py").write_text(WAITS)
    site = live("gunicorn-gthread", "waits:app", args=["--chdir", str(tmp_path)])

    def move(socket: Socket, model: str) -> str:
        event = changed(model, 2)
        return str(socket.change(event)["type"])

    with (
        connect(site, "/waits", site.token()) as first,
        connect(site, "/waits", site.token()) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        slow, quick = first.ids()["slow"], second.ids()["quick"]
        waiting = pool.submit(move, first, slow)
        assert site.get("/begun") == "True"
        other = pool.submit(move, second, quick)
        if bokeh_package.__version__.startswith("3.9."):
            time.sleep(0.5)  # if it were answered, this would be enough on most machines
            assert not other.done()
        else:
            assert other.result(60) == "OK"
        assert not waiting.done()
        site.get("/release")
        assert (waiting.result(60), other.result(60)) == ("OK", "OK")


def test_settings_page_is_up_to_date() -> None:
    """``docs/settings.md`` is the output of ``docs/make_settings.py``."""
    made = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))
    assert (ROOT / "docs" / "settings.md").read_text() == made["page"]()


def test_code_of_the_page_on_sessions_runs(app: Flask, bokeh: FlaskBokeh) -> None:
    """Each view of ``docs/sessions.md`` shows its plots."""
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


@pytest.mark.parametrize("page", ["servers", "settings"])
def test_code_for_a_second_port_is_valid(app: Flask, page: str) -> None:
    """``init_app`` accepts the settings of the page."""
    names: dict[str, Any] = {"app": app}
    for code in blocks((DOCS / f"{page}.md").read_text(), "python"):
        exec(code, names)
    app.config.update({key: value for key, value in names.items() if key.startswith("BOKEH_")})
    FlaskBokeh(app)
    settings = app.extensions["bokeh"].settings
    assert (settings.transport, settings.server_options["port"]) == ("port", 5006)


def test_links_between_pages_lead_to_files() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_python_is_only_on_pages_that_a_test_runs() -> None:
    """Fragments are on the pages in TESTED; whole files in the how-to guides and the tutorial."""
    folders = {DOCS / "howto", DOCS / "tutorial"}  # test_docs_howto and test_docs_tutorial
    for page in PAGES:
        if page.parent not in folders and page.name != "index.md":
            assert files_of(page) == {}, page
            assert not fragments_of(page) or page.name in TESTED, page


def test_commands_and_settings_of_the_pages_exist() -> None:
    """The commands accept the options that pages show, and each BOKEH_... name is a setting."""
    known = {key_of(name) for name in setting_infos()}
    for page in (*PAGES, ROOT / "README.md"):
        text = page.read_text()
        for line in re.findall(r"^flask .*bokeh ((?:.*\\\n)*.*)$", text, re.MULTILINE):
            words = shlex.split(line.partition("|")[0].partition(">")[0].replace("\\\n", " "))
            commands.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=True)
        for name in re.findall(r"\bBOKEH_\w+\b", text):
            assert name in known or name.endswith("_"), (page, name)


def test_api_reference_has_every_public_name() -> None:
    """The reference lists the public names and the public methods of the extension."""
    names = re.findall(
        r"^\.\. auto\w+:: flask_bokeh\.([\w.]+)", (DOCS / "api.md").read_text(), re.M
    )
    methods = {name for name in vars(FlaskBokeh) if not name.startswith("_")}
    assert sorted(names) == sorted(
        {*flask_bokeh.__all__, *(f"FlaskBokeh.{one}" for one in methods)}
    )


def test_files_have_no_absolute_path_of_a_machine() -> None:
    for path in ROOT.rglob("*"):
        if path.suffix in {".py", ".md", ".toml", ".txt", ".html"} and ".venv" not in str(path):
            text = path.read_text()
            assert "/" + "work/" not in text, path
            assert "/" + "root/" not in text, path


def test_page_on_servers_lists_the_tested_servers() -> None:
    """The table has the servers of the test matrix, all of them and no other."""
    page = (ROOT / "docs" / "servers.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    tested = {name for row in rows for name in re.findall(r"`([\w-]+)`", row[-1])}
    assert tested == set(SERVERS)
    for row in rows:
        has_tls = any(name.endswith("-tls") for name in re.findall(r"`([\w-]+)`", row[-1]))
        assert has_tls == (row[2].strip() == "yes"), row
    for adapter in ADAPTERS:
        assert any(adapter.name in row[0] for row in rows)


def test_page_on_security_agrees_with_the_code(app: Flask, bokeh: FlaskBokeh) -> None:
    """Its code runs, its defaults are those of the settings, its policy that of test_csp."""
    text = (ROOT / "docs" / "security.md").read_text()
    bokeh.add_application("/salaries", lambda doc: None)
    bokeh.init_app(app)
    flask_login = pytest.importorskip("flask_login")
    flask_login.LoginManager(app).user_loader(lambda name: None)
    talismans: list[dict[str, Any]] = []
    names = {
        "app": app,
        "bokeh": bokeh,
        "login_required": flask_login.login_required,
        "session": session,
        "managers": [],
        "Talisman": lambda app, **options: talismans.append(options),
    }
    with app.test_request_context():
        for code in blocks(text, "python"):
            exec(code, names)
        with pytest.raises(Unauthorized):
            render_template_string("{% bokeh '/salaries' %}")
    named = {name.removesuffix("_").lower() for name in re.findall(r"`BOKEH_(\w+)\*?`", text)}
    assert {name for name, info in setting_infos().items() if info.is_security} <= named
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
