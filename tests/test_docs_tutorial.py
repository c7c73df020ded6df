"""The tutorial: its project is put together from the pages, and used in a browser."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from .support import ROOT
from .support.browser import Tab
from .support.documentation import blocks, files_of, fragments_of
from .support.nginx import running_nginx
from .support.programs import find_nginx
from .support.servers import Live

TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = ["first-plot", "database", "login", "callbacks", "deploy"]


def assemble(folder: Path, *pages: str) -> None:
    """Write the files of these pages; a later page replaces what an earlier one has."""
    for page in pages:
        for name, code in files_of(TUTORIAL / f"{page}.md").items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)


RUN = """
import json, sys
from flask.cli import cli

for arguments in json.loads(sys.argv[1]):
    cli.main(["--app", "runlog", *arguments], standalone_mode=False)
"""


def run(folder: Path, *commands: list[str]) -> str:
    """Run ``flask --app runlog`` in the project, with one process for all commands."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return done.stdout.decode()


def configuration(folder: Path, upstream: str, address: str) -> str:
    """Return the configuration of nginx that the site prints, with the compression of the docs."""
    printed = run(folder, ["bokeh", "nginx", "--upstream", upstream, "--listen", address])
    (compression,) = blocks((ROOT / "docs" / "performance.md").read_text(), "nginx")
    return printed.replace("server {", f"server {{\n{compression}", 1)


def runs_in(database: Path) -> list[tuple[int, str, float]]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.execute("select user_id, day, km from run order by id"))


def log_in(tab: Tab, url: str, name: str) -> None:
    tab.page.goto(url)
    assert tab.page.url.startswith(f"{url}/login")
    tab.page.get_by_label("Name").fill(name)
    tab.page.get_by_label("Password").fill("secret")
    tab.page.get_by_role("button", name="Log in").click()
    tab.page.get_by_role("heading", name=f"Runs of {name}").wait_for()
    tab.page.wait_for_function("window.Bokeh && Bokeh.documents[0]?.is_idle")


KILOMETRES = "Array.from(Bokeh.documents[0].get_model_by_name('runs').data.km)"


def test_users_of_the_finished_project_add_and_see_their_runs(
    live: Live, tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users log in behind nginx, add runs that are saved, see only their own runs, and log out."""
    assemble(tmp_path, *PAGES)
    monkeypatch.setenv("FLASK_SECRET_KEY", "a key for the tests only")
    monkeypatch.setenv("FLASK_TRUSTED_HOSTS", '["127.0.0.1"]')
    added = [["add-user", name, "--password", "secret"] for name in ("ann", "bob")]
    assert "PROBLEM" not in run(tmp_path, *added, ["bokeh", "check"])
    arguments = ["--chdir", str(tmp_path), "--workers", "2"]
    with ExitStack() as stack:
        proxied = find_nginx() is not None
        if proxied:
            monkeypatch.setenv("FLASK_BEHIND_PROXY", "1")
        site = live("gunicorn-gthread", "runlog:create_app()", args=arguments)
        url = site.url
        if proxied:
            configure = partial(configuration, tmp_path, site.address)
            url = f"http://{stack.enter_context(running_nginx(tmp_path, configure))}"
        use(tab, url, tmp_path / "instance" / "runlog.db")
        if proxied:
            assert is_compressed(tab, url)
        leave(tab)


def use(tab: Tab, url: str, database: Path) -> None:
    log_in(tab, url, "ann")
    for count in (1, 2):
        tab.page.get_by_role("button", name="Add").click()
        tab.page.wait_for_function(f"{KILOMETRES}.length == {count}")
    saved = runs_in(database)
    assert [(user, km) for user, _, km in saved] == [(1, 5.0), (1, 5.0)]
    another = tab.page.context.new_page()
    another.goto(url)
    another.wait_for_function(f"window.Bokeh?.documents.length && {KILOMETRES}.length == 2")
    tab.page.get_by_role("button", name="Log out").click()
    for page in (tab.page, another):  # the other page reloads itself: its plot is closed
        page.get_by_role("heading", name="Log in").wait_for()
    log_in(tab, url, "bob")
    assert tab.page.evaluate(KILOMETRES) == []
    tab.page.get_by_role("button", name="Add").click()
    tab.page.wait_for_function(f"{KILOMETRES}.length == 1")
    assert runs_in(database)[-1][0] == 2


def leave(tab: Tab) -> None:
    """Leave the site before it stops, and forgive messages about plots without points."""
    tab.page.goto("about:blank")
    tab.forgive("could not set initial ranges")


def is_compressed(tab: Tab, url: str) -> bool:
    """Return True if BokehJS is sent compressed, as docs/performance.md advises."""
    source = tab.page.locator("script[src*='bokeh.min.js']").get_attribute("src")
    request = urllib.request.Request(f"{url}{source}", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["Content-Encoding"] == "gzip" and len(answer.read()) < 500_000


def test_slider_of_the_first_page_changes_the_average(live: Live, tab: Tab, tmp_path: Path) -> None:
    """The project works after the first page of the tutorial, too."""
    assemble(tmp_path, "first-plot")
    site = live("werkzeug", str(tmp_path / "runlog"))
    tab.open(site.url)
    average = "Bokeh.documents[0].get_model_by_name('runs').data.average[1]"
    assert tab.page.evaluate(average) == 6.5
    handle = tab.page.locator(".noUi-handle")
    handle.focus()
    for _ in range(2):
        handle.press("ArrowLeft")
    tab.page.wait_for_function(f"{average} == 8")
    leave(tab)


def test_every_block_of_code_is_part_of_a_file() -> None:
    """A block that is not a whole file is an excerpt of one."""
    written = "".join(code for page in PAGES for code in files_of(TUTORIAL / f"{page}.md").values())
    for page in PAGES:
        for code in fragments_of(TUTORIAL / f"{page}.md"):
            assert code in written, (page, code)


def test_shown_folder_has_the_files_of_the_pages() -> None:
    """The folder on the first page lists the files that the pages make."""
    (folder,) = blocks((TUTORIAL / "index.md").read_text(), "text")
    shown = set(re.findall(r"[\w.]+\.(?:py|html)", folder))
    made = {Path(name).name for page in PAGES for name in files_of(TUTORIAL / f"{page}.md")}
    assert shown == made
