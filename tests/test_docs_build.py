"""The documentation builds without warnings, as HTML and as plain Markdown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flask_bokeh

from .support import ROOT

pytestmark = pytest.mark.live  # builds the documentation, in a process of its own
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix()
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation: warnings are errors, and there is no network."""
    folder = tmp_path_factory.mktemp("docs")
    command = ["--builder", "html", "--fresh-env", "--nitpicky", "--fail-on-warning", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *command, str(DOCS), str(folder)],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "https_proxy": "127.0.0.1:1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_llms_txt_lists_every_page(site: Path) -> None:
    """Each line has a title, a sentence and the URL of the page's Markdown."""
    lines = (site / "llms.txt").read_text().splitlines()
    assert lines[0] == "# flask_bokeh"
    assert re.fullmatch(r"> .{20,}", lines[2])
    listed = dict(re.findall(r"^- \[.+\]\((.+)\.md\): (.+)$", "\n".join(lines), re.MULTILINE))
    assert sorted([*listed, "index"]) == PAGES
    for page, sentence in listed.items():
        assert 20 <= len(sentence) <= 200, page


@pytest.mark.parametrize("page", PAGES)
def test_markdown_has_no_directives_and_working_links(site: Path, page: str) -> None:
    path = site / f"{page}.md"
    text = path.read_text()
    assert text.startswith("# ")
    assert "```{" not in text
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        assert (path.parent / target).exists(), target


def test_markdown_of_the_reference_has_every_public_name(site: Path) -> None:
    """Names have their arguments, and the fields of docstrings are rendered."""
    text = (site / "api.md").read_text()
    for name in flask_bokeh.__all__:
        assert re.search(rf"^### `{name}\b", text, re.MULTILINE), name
    methods = {name for name in vars(flask_bokeh.FlaskBokeh) if not name.startswith("_")}
    assert set(re.findall(r"^#### `FlaskBokeh\.(\w+)", text, re.MULTILINE)) == methods
    assert "- raises `LimitError`: " in text
    assert ":param" not in text
    assert " at 0x" not in text


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    """Scripts, styles and pictures come from the site itself; diagrams are in the page."""
    for page in PAGES:
        html = (site / f"{page}.html").read_text()
        for tag in re.findall(r"<(?:script|link|img)\b[^>]*>", html):
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag), tag
        assert f'href="{page.rpartition("/")[2]}.md"' in html
    assert (site / "how-it-works.html").read_text().count("<svg role=") == 4
