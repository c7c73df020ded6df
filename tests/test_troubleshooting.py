"""Messages that docs/troubleshooting.md quotes: they are those of the code."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import Div
from flask import Flask, current_app, render_template_string, request
from flask.testing import FlaskClient
from jinja2 import TemplateSyntaxError

from flask_bokeh import ApplicationFailedError, EmbedError, FlaskBokeh, SerializationFailedError
from flask_bokeh.web.browser_script import browser_script

from .support import ROOT
from .support.browser import Tab
from .support.html import tokens_in
from .support.servers import Live, LiveServer
from .support.upgrades import upgrade
from .support.waiting import eventually

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)
SITE = """
from bokeh.models import Div
from flask import Flask, render_template_string
from flask_bokeh import FlaskBokeh

bokeh = FlaskBokeh()
bokeh.add_application("/x", lambda doc: doc.add_root(Div(text="x")))
app = Flask("shop")
app.secret_key = "for the tests only"
bokeh.init_app(app)
page = "<!doctype html><link rel=icon href='data:,'>{% bokeh '/x' %}"
app.add_url_rule("/", view_func=lambda: render_template_string(page))

@app.get("/strict")
def strict():
    return render_template_string(page), {"Content-Security-Policy": "script-src 'nonce-x'"}

def under_shop(environ, start_response, inner=app.wsgi_app):
    "Strip the prefix /shop, as a proxy that does not tell Flask about it. Only /strict has none."
    path = environ["PATH_INFO"]
    if path != "/strict":
        is_below = path.startswith("/shop/")
        environ["PATH_INFO"] = path.removeprefix("/shop") if is_below else "/nowhere"
    return inner(environ, start_response)
"""


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh) -> FlaskClient:
    bokeh.add_application("/x", lambda doc: doc.add_root(Div(text="x")))
    bokeh.add_application("/page", lambda doc: doc.add_root(Div(text="x")), page=True)
    bokeh.user_loader(lambda: request.headers.get("User"))
    bokeh.init_app(app)
    app.add_url_rule("/", view_func=lambda: render_template_string("{% bokeh '/x' %}"))
    return app.test_client()


def ask(site: FlaskClient, *, more: str = "", **headers: str) -> None:
    (token,) = tokens_in(site.get("/").text)
    upgrade(site, "/bokeh/x/ws", token + more, **headers)


def rejects(bokeh: FlaskBokeh, fill: Callable[[Document], Any]) -> None:
    bokeh.add_application("/y", fill)
    with bokeh.pull_session("/y"), bokeh.pull_session("/y"):
        pass


def edit_late(bokeh: FlaskBokeh) -> None:
    with bokeh.pull_session("/x") as session:
        pass
    session.document.title = "late"


def edit_in_a_thread(bokeh: FlaskBokeh) -> None:
    with bokeh.pull_session("/x") as session:
        pass
    with ThreadPoolExecutor(1) as pool:
        pool.submit(setattr, session.document, "title", "from a thread").result(60)


def ask_flask_login(bokeh: FlaskBokeh) -> None:
    """Use current_user as in a view: applications run outside of requests, even in a pull."""
    flask_login = pytest.importorskip("flask_login")
    rejects(bokeh, lambda doc: flask_login.current_user.name)


def share(bokeh: FlaskBokeh) -> None:
    shared = Div(text="shared")
    rejects(bokeh, lambda doc: doc.add_root(shared))


def hold_a_decimal(bokeh: FlaskBokeh) -> None:
    bokeh.add_application("/y", lambda doc: doc.add_root(Div(tags=[Decimal("1.5")])))
    with bokeh.pull_session("/y", transport="client"):
        pass


LOGGED: dict[str, Callable[[FlaskClient], Any]] = {
    "The Origin ... is not ...": lambda site: ask(site, Origin="http://localhost:8080"),
    "a proxy in front leaves out its header Upgrade": lambda site: ask(site, Upgrade=""),
    "The session token has a wrong signature": lambda site: ask(site, more="x"),
    "The session token is of another user or browser": lambda site: ask(site, User="ann"),
    "to a frame of another site": lambda site: site.get(
        "/bokeh/page", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}
    ),
    "does not hand out its clients' sockets": lambda site: site.get(
        "/", environ_overrides={"SERVER_SOFTWARE": "another server"}
    ),
}
LATER: dict[str, Callable[[FlaskBokeh, Document], Any]] = {
    "Working outside of application context": lambda bokeh, doc: current_app.name,
}
RAISED: dict[str, tuple[type[Exception], Callable[[FlaskBokeh], Any]]] = {
    "Models must be owned by only a single document": (ApplicationFailedError, share),
    "Working outside of request context": (
        ApplicationFailedError,
        lambda bokeh: rejects(bokeh, lambda doc: request.args),
    ),
    "'NoneType' object has no attribute": (ApplicationFailedError, ask_flask_login),
    "Flask's cookie session, which is what": (
        EmbedError,
        lambda _: render_template_string("{% bokeh session %}"),
    ),
    "can't be sent to a browser": (SerializationFailedError, hold_a_decimal),
    "_pending_writes should be non-None": (RuntimeError, edit_late),
}
SHOWN = {"Failed to load resource": "/shop/", "Content Security Policy": "/strict"}
UNKNOWN_TAG = "Encountered unknown tag 'bokeh'"


def test_every_quoted_message_has_a_test() -> None:
    assert set(QUOTED) == {*LOGGED, *LATER, *RAISED, *SHOWN, UNKNOWN_TAG}
    script = browser_script().text
    for text in re.findall(r'^\| "([^"]+)"', PAGE, re.MULTILINE):
        assert all(part in script for part in re.split(r"(?<=\.) ", text)), text


@pytest.mark.parametrize("text", LOGGED)
def test_message_is_logged_for_its_cause(
    site: FlaskClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    with caplog.at_level(logging.WARNING):
        LOGGED[text](site)
    assert re.search(".*".join(map(re.escape, text.split("..."))), caplog.text)


@pytest.mark.parametrize("text", RAISED)
def test_error_is_raised_with_the_quoted_message(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, text: str
) -> None:
    kind, cause = RAISED[text]
    with app.test_request_context(), pytest.raises(kind, match=re.escape(text)):
        cause(bokeh)


@pytest.mark.parametrize("text", LATER)
def test_failing_callback_logs_the_quoted_message(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    bokeh.add_application(
        "/y", lambda doc: doc.add_next_tick_callback(lambda: LATER[text](bokeh, doc))
    )
    with app.test_request_context(), bokeh.pull_session("/y"):
        pass
    eventually(lambda: text in caplog.text, f"{text!r} in the log")


def test_thread_that_edits_a_document_gets_an_error(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """The message is that of a document that is edited too late; the page has a row for each."""
    with (
        app.test_request_context(),
        pytest.raises(RuntimeError, match="_pending_writes should be non-None"),
    ):
        edit_in_a_thread(bokeh)


def test_visitor_of_a_cached_page_is_refused(
    site: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The token in a page that a cache has stored belongs to another browser."""
    (token,) = tokens_in(site.get("/").text)
    assert upgrade(site.application.test_client(), "/bokeh/x/ws", token).status_code == 403
    assert "The session token is of another user or browser" in caplog.text


def test_tag_without_the_extension_is_a_syntax_error(app: Flask) -> None:
    with app.app_context(), pytest.raises(TemplateSyntaxError, match=UNKNOWN_TAG):
        render_template_string("{% bokeh '/x' %}")


@pytest.fixture(scope="module")
def shop(module_live: Live, tmp_path_factory: pytest.TempPathFactory) -> LiveServer:
    """The site behind a proxy that strips a prefix."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SITE)
    return module_live("gunicorn-sync", "shop:under_shop", args=["--chdir", str(folder)])


@pytest.mark.parametrize("text", SHOWN)
def test_message_is_in_the_browsers_console(shop: LiveServer, tab: Tab, text: str) -> None:
    tab.page.goto(shop.url + SHOWN[text])
    tab.page.wait_for_load_state("networkidle")
    assert any(text in line for line in tab.trouble), tab.trouble
    tab.trouble.clear()
