"""The browser's code: how it is joined and served, and how it finds the plots of a page."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from bokeh.document import Document
from bokeh.models import Div
from flask import Flask, Response, render_template_string, request
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh
from flask_bokeh.web.browser_script import browser_script

from .live_apps.configured import configured
from .support import ROOT
from .support.browser import Tab
from .support.servers import Live
from .support.waiting import eventually

APP = "tests.test_js:create_app()"
SOURCES = {path.name: path.read_text() for path in (ROOT / "js" / "src").glob("*.js")}
PAGE = "<!doctype html><title>t</title><link rel=icon href='data:,'><body>{}</body>"


def create_app() -> Flask:
    """A site with pages that come in parts."""
    app, bokeh = configured(__name__), FlaskBokeh()
    bokeh.user_loader(lambda: request.cookies.get("user", "ann"))
    released = threading.Semaphore(0)

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        doc.add_root(Div(text="here it is"))

    @bokeh.application("/failing")
    def failing(doc: Document) -> None:
        raise LookupError

    bokeh.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template_string(PAGE.format("{% bokeh_resources %}<main></main>"))

    @app.get("/plot")
    def plot() -> str:
        return render_template_string(PAGE.format("{% bokeh '/x' %}"))

    @app.route("/part", methods=["GET", "POST"])
    def part() -> str:
        return render_template_string("{% bokeh '/x' %}").partition("<div")[2]

    @app.get("/failing")
    def fails() -> str:
        return render_template_string(PAGE.format("{% bokeh '/failing' %}"))

    @app.get("/slow")
    def slow() -> Response:
        html = render_template_string(PAGE.format("{% bokeh '/x' %}<footer>"))
        middle = html.index('"token"')

        def parts() -> Iterator[str]:
            for text in (html[:middle], html[middle:], "the end</footer>"):
                yield text
                released.acquire(timeout=60)

        return Response(parts())

    @app.post("/release")
    def release() -> str:
        released.release()
        return ""

    @app.post("/close/<user>")
    def close(user: str) -> str:
        return str(bokeh.close_sessions(user=user))

    return app


# --- the script -----------------------------------------------------------------------------


def test_script_contains_every_module_once() -> None:
    """Each file of js/src is in the script once, and no import or export is left."""
    script = browser_script().text
    for name in SOURCES:
        assert script.count(f"\n// {name}\n") == 1
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


def test_modules_define_no_name_twice() -> None:
    """No name is defined at the top level of two modules, which share a scope in the script."""
    definition = r"^(?:export )?(?:async )?(?:function|const|let|var|class) (\w+)"
    names = [name for text in SOURCES.values() for name in re.findall(definition, text, re.M)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert "showPlot" in names


def test_imports_and_exports_can_be_removed() -> None:
    """Imports and exports have the forms that the joined script leaves out."""
    imported = re.compile(r'import \{ [\w, ]+ \} from "\./\w+\.js";')
    exported = re.compile(r"export (async )?(function|const) \w+")
    for text in SOURCES.values():
        for line in re.findall(r"^(?:import|export)\b.*", text, re.MULTILINE):
            assert imported.fullmatch(line) or exported.match(line), line
            assert " as " not in line


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh) -> FlaskClient:
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    app.add_url_rule("/", view_func=lambda: render_template_string("{% bokeh '/x' %}"))
    return app.test_client()


def url_in(html: str) -> str:
    (url,) = re.findall(r'src="([^"]+/flask_bokeh\.js[^"]*)"', html)
    return str(url)


@pytest.mark.parametrize("page", ["/", "/bokeh/x"])
def test_script_is_cached_for_a_year(site: FlaskClient, page: str) -> None:
    """Browsers and proxies may keep the script under the URL with the hash of its text."""
    answer = site.get(url_in(site.get(page).text))
    assert answer.text == browser_script().text
    assert answer.content_type == "text/javascript; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.cache_control.max_age == 31_536_000
    assert answer.cache_control.immutable
    assert answer.cache_control.public
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("query", ["", "?v=", "?v=another", "?v=another&v=$"])
def test_script_under_another_hash_is_revalidated(site: FlaskClient, query: str) -> None:
    """Browsers ask again each time for any other URL of the script."""
    url = "/bokeh/static/flask_bokeh.js" + query.replace("$", browser_script().version)
    answer = site.get(url)
    assert answer.headers["Cache-Control"] == "no-cache"
    again = site.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("resources", ["server", "cdn", "inline"])
@pytest.mark.parametrize("script_name", ["", "/app"])
def test_script_url_has_the_sites_prefix(
    app: Flask, bokeh: FlaskBokeh, resources: str, script_name: str
) -> None:
    """The script comes from the site's own prefix, wherever BokehJS comes from."""
    app.config.update(BOKEH_RESOURCES=resources, BOKEH_URL_PREFIX="/plots")
    bokeh.init_app(app)
    with app.test_request_context(environ_overrides={"SCRIPT_NAME": script_name}):
        url = url_in(bokeh.resources())
    assert url == f"{script_name}/plots/static/flask_bokeh.js?v={browser_script().version}"
    assert app.test_client().get(url.removeprefix(script_name)).status_code == 200


@pytest.mark.parametrize("matching", ["host", "subdomain"])
def test_script_is_served_on_every_host(bokeh: FlaskBokeh, matching: str) -> None:
    """Host matching and subdomain matching do not hide the script."""
    host = matching == "host"
    app = Flask(
        "x", host_matching=host, static_host="a.test" if host else None, subdomain_matching=not host
    )
    app.config["SERVER_NAME"] = None if host else "a.test"
    bokeh.init_app(app)
    for base in ("http://a.test", "http://b.a.test"):
        assert app.test_client().get("/bokeh/static/flask_bokeh.js", base).status_code == 200


def test_pages_have_no_inline_code(site: FlaskClient) -> None:
    """All scripts of a page are files, except for the JSON of the plots."""
    for page in ("/", "/bokeh/x"):
        scripts = re.findall(r"<script\b([^>]*)>([^<]*)", site.get(page).text)
        assert len(scripts) == 7
        inline = [attributes for attributes, text in scripts if text]
        assert inline == [' type="application/json" data-flask-bokeh']


# --- finding plots --------------------------------------------------------------------------

FETCH = """async (method) => {
    const html = "<div" + await (await fetch("/part", {method})).text();
    document.querySelector("main").innerHTML = html;
}"""
SHOWN = "window.Bokeh?.documents.length == 1 && Bokeh.documents[0].is_idle"


def test_plot_in_inserted_markup_is_shown_once(module_live: Live, tab: Tab) -> None:
    """A plot is shown when a script sets innerHTML; a copy of the markup is not shown again."""
    site = module_live(app=APP)
    tab.page.goto(site.url)
    tab.page.evaluate(FETCH, "GET")
    tab.page.get_by_text("here it is").wait_for()
    tab.page.evaluate(
        "document.body.append(document.querySelector('[data-flask-bokeh]').cloneNode(true))"
    )
    tab.page.evaluate("document.body.append(document.querySelector('main'))")  # moved
    tab.page.evaluate(FETCH, "GET")
    tab.page.wait_for_function("Bokeh.documents.length == 2 && Bokeh.documents[1].is_idle")
    assert tab.page.get_by_text("here it is").count() == 1


def test_script_that_is_loaded_again_starts_once(module_live: Live, tab: Tab) -> None:
    """A fragment that loads the script again changes only how the page was fetched."""
    site = module_live(app=APP)
    tab.page.context.add_cookies([{"name": "user", "value": "bob", "url": site.url}])
    tab.open(f"{site.url}/plot")
    tab.page.evaluate(
        """() => new Promise((resolve) => {
            const script = document.createElement("script");
            script.src = document.querySelector("script[data-answers-get]").src;
            script.dataset.answersGet = "false";
            script.onload = resolve;
            document.body.append(script);
        })"""
    )
    assert tab.page.get_by_text("here it is").count() == 1
    assert int(site.post("/close/bob")) == 1
    box = tab.page.get_by_role("alert")
    box.wait_for()
    assert box.inner_text() == "This plot has ended. Open this page again."
    tab.forgive_the_network()


def test_plot_is_shown_before_the_page_is_complete(module_live: Live, tab: Tab) -> None:
    """A plot is shown as soon as its own markup is complete."""
    site = module_live(app=APP)
    tab.page.goto(f"{site.url}/slow", wait_until="commit")
    tab.page.wait_for_selector("[data-flask-bokeh]", state="attached")  # half of it
    site.post("/release")
    tab.page.get_by_text("here it is").wait_for()
    assert tab.page.evaluate("document.readyState") == "loading"
    site.post("/release")
    tab.page.get_by_text("the end").wait_for()
    site.post("/release")
    assert tab.page.evaluate("Bokeh.documents.length") == 1


def test_markup_of_another_host_is_not_connected(module_live: Live, tab: Tab) -> None:
    """JSON that an attacker has smuggled into a page connects it to no other host."""
    site = module_live(app=APP)
    tab.page.goto(site.url)
    opened: list[str] = []
    tab.page.on("websocket", lambda socket: opened.append(socket.url))
    for server in ("https://evil.test", "http://127.0.0.2:5006"):
        tab.page.evaluate(
            """server => {
                const item = {token: server, elementid: "there", use_for_title: false};
                const data = {item, app_url: "/x", server_url: server, status_url: "/x/ws"};
                const script = document.createElement("script");
                script.type = "application/json";
                script.dataset.flaskBokeh = "";
                script.textContent = JSON.stringify({...data, answers_get: true});
                const place = document.createElement("div");
                place.id = "there";
                document.querySelector("main").replaceChildren(place, script);
            }""",
            server,
        )
        box = tab.page.locator("#there > [role=alert]")
        box.wait_for()
        assert box.inner_text().startswith("This plot could not be reached.")
    assert opened == []


# --- boxes ----------------------------------------------------------------------------------

STYLE = "e => [getComputedStyle(e).borderLeft, getComputedStyle(e).fontSize]"


def test_error_boxes_have_the_same_style(live: Live, tab: Tab) -> None:
    """The box of an application that raises has the style of the box of a closed plot."""
    site = live(app=APP, clean=False)
    tab.page.goto(f"{site.url}/failing")
    box = tab.page.get_by_role("alert")
    box.wait_for()
    failed = box.evaluate(STYLE)
    assert failed == ["4px solid rgb(180, 35, 24)", "14px"]
    tab.open(f"{site.url}/plot")
    tab.page.evaluate("FlaskBokeh.noteMarkup(false)")  # so that it does not reload itself
    assert int(site.post("/close/ann")) >= 1
    eventually(lambda: box.count() == 1, "the box")
    assert box.evaluate(STYLE) == failed
    tab.forgive_the_network()
