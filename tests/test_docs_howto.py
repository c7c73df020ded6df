"""How-to pages: each of their sites runs, and does what its page says."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .support import ROOT
from .support.browser import Tab
from .support.documentation import files_of, fragments_of
from .support.messages import changed
from .support.servers import Live, LiveServer
from .support.sockets import Socket, connect
from .support.visitors import Visitor
from .support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = ROOT / "docs"


@pytest.fixture
def serve(live: Live, tmp_path: Path) -> Any:
    """Serve a file of a page, with the page's other files beside it."""

    def start(page: str, name: str, replace: tuple[str, str] = ("", "")) -> LiveServer:
        files = files_of(DOCS / f"{page}.md")
        assert replace[0] in files[name]
        for file, code in files.items():
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(code.replace(*replace))
        return live("werkzeug", str(tmp_path / name))

    return start


def model(name: str) -> str:
    """Return JavaScript for a model of the page's first document."""
    return f"Bokeh.documents[0].get_model_by_name('{name}')"


def until_text(page: Page, name: str, text: str) -> None:
    page.wait_for_function(f"t => {model(name)}.text.includes(t)", arg=text)


def until_shown(socket: Socket, text: str, name: str = "shown") -> None:
    """Wait until a text is in the server's model with a name."""

    def is_shown() -> bool:
        return text in socket.models()[name]["attributes"].get("text", "")

    eventually(is_shown, f"{text!r} to be shown")


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.execute(sql))


def choose(tab: Tab, name: str, content: bytes) -> None:
    """Choose a file for the page's only field for files."""
    field = tab.page.locator("input[type=file]")
    field.set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def forgive(tab: Tab) -> None:
    """Leave the page, and forgive messages about a missing icon, jQuery UI and an empty plot."""
    tab.page.goto("about:blank")
    tab.forgive("404", "jquery-ui is required", "could not set initial ranges")


def test_plot_of_the_front_page_is_live(serve: Any, tab: Tab) -> None:
    site = serve("index", "live.py")
    tab.open(site.url)
    tab.move_slider()
    y = f"{model('plot')}.renderers[0].data_source.data.y"
    tab.page.wait_for_function(f"Array.from({y}).join() == '0,1,4,9'")
    forgive(tab)


def test_database_note_is_saved_and_shown_to_others(serve: Any, tmp_path: Path) -> None:
    """A callback saves a note, which appears in another visitor's plot without a reload."""
    site = serve("howto/database", "notes.py")
    with (
        connect(site, "/notes", site.token()) as socket,
        connect(site, "/notes", site.token()) as other,
    ):
        typed = changed(socket.ids()["text"], "<b>milk</b>")
        assert socket.change(typed)["type"] == "OK"
        socket.press("Add")
        for one in (socket, other):
            until_shown(one, "<p>&lt;b&gt;milk&lt;/b&gt;</p>", "listed")
    saved = query(tmp_path / "instance" / "notes.db", "select text from note")
    assert saved == [("<b>milk</b>",)]


def test_long_computation_shows_progress_and_can_be_stopped(serve: Any) -> None:
    """The computation ends when the visitor stops it, and when the visitor leaves."""
    sooner = ('LIFETIME"] = 10', 'LIFETIME"] = 1')
    site = serve("howto/long-computations", "progress.py", sooner)
    with connect(site, "/progress", site.token()) as socket:
        socket.press("Start")
        until_shown(socket, "of 1000")
        socket.press("Stop")
        until_shown(socket, "Stopped.")
        site.until_logged("stopped after")
        assert site.log.count("stopped after") == 1
        socket.press("Start")
        until_shown(socket, "of 1000")
        assert site.log.count("stopped after") == 1
    eventually(lambda: site.log.count("stopped after") == 2, "the thread to stop")


def test_process_pool_computes_and_its_result_is_shown(serve: Any) -> None:
    site = serve("howto/pools", "pools.py")
    with connect(site, "/primes", site.token()) as socket:
        socket.press("Count")
        until_shown(socket, "168 primes")


def test_plots_in_tabs_and_modals_have_a_size_when_shown(serve: Any, tab: Tab) -> None:
    """Plots that were hidden at first are live, too."""
    site = serve("howto/tabs-and-modals", "tabs.py")
    tab.open(site.url, plots=3)
    sockets = "/bokeh/powers/ws"
    eventually(lambda: site.log.count(sockets) == 3, "three sessions")
    for button, place in (("Second", "#second"), ("Dialog", "#dialog")):
        tab.page.get_by_role("button", name=button).click()
        plot = tab.page.locator(f"{place} .bk-Figure")
        plot.wait_for()
        box = plot.bounding_box()
        assert box is not None
        assert box["width"] > 400
        assert box["height"] > 200
        handle = tab.page.locator(f"{place} .noUi-handle")
        handle.focus()
        handle.press("ArrowRight")
        tab.page.wait_for_function(
            "title => Bokeh.documents.some(d => d.get_model_by_name('plot').title.text == title)",
            arg=f"{button}: power 2",
        )
    tab.page.get_by_role("button", name="Close").click()
    tab.page.get_by_role("button", name="First").click()
    tab.page.get_by_role("button", name="On demand").click()
    tab.page.frame_locator("#later").locator(".bk-Figure").wait_for()
    assert site.log.count(sockets) == 4
    forgive(tab)


def test_uploaded_csv_file_becomes_a_table(serve: Any, tab: Tab) -> None:
    """Another file is refused with a message."""
    site = serve("howto/uploads", "uploads.py")
    tab.open(site.url)
    for content, told in (
        (b"\xff\xfe", "This is not"),
        (b"city,sales\nLyon,1\nOslo,2\n", "2 rows"),
    ):
        choose(tab, "x.csv", content)
        until_text(tab.page, "told", told)
    tab.page.get_by_text("Oslo").wait_for()
    forgive(tab)


def test_large_upload_is_shown_to_its_visitor_only(serve: Any, tab: Tab, tmp_path: Path) -> None:
    """A form receives the file and the plot shows it; other visitors get a 403."""
    site = serve("howto/uploads", "large_uploads.py")
    tab.page.goto(site.url)
    choose(tab, "../x.csv", b"city,sales\nLyon,1\n")
    tab.page.get_by_role("button", name="Upload").click()
    tab.page.get_by_text("Lyon").wait_for()
    assert Visitor(site).get(tab.page.url.removeprefix(site.url)).status == 403
    forgive(tab)


def test_table_edits_are_saved_or_undone(serve: Any, tab: Tab, tmp_path: Path) -> None:
    """A valid edit is saved; an invalid one is refused, and the table shows the saved value."""
    site = serve("howto/tables", "tables.py")
    database = tmp_path / "instance" / "products.db"
    tab.open(site.url)
    tab.page.get_by_text("Coffee").dblclick()
    field = tab.page.locator(".slick-cell input")
    field.fill("Espresso")
    field.press("Enter")
    until_text(tab.page, "told", "Saved.")
    assert query(database, "select name from product") == [("Tea",), ("Espresso",)]
    source = model("products")
    tab.page.evaluate(f"{source}.data = {{...{source}.data, price: [3.5, -1]}}")
    until_text(tab.page, "told", "Not saved")
    tab.page.wait_for_function(f"{source}.data.price[1] == 5")
    assert query(database, "select price from product") == [(3.5,), (5.0,)]
    forgive(tab)


def test_every_block_of_code_is_a_served_file() -> None:
    """Each block of Python on these pages is a file that a test above serves."""
    served = Path(__file__).read_text()
    for page in (DOCS / "howto").glob("*.md"):
        assert fragments_of(page) == [], page
        for name in re.findall(r"^# (\w+\.py)", page.read_text(), re.MULTILINE):
            assert name == "primes.py" or f'serve("howto/{page.stem}", "{name}"' in served
