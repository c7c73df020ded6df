"""The Jinja tags and the functions behind them, as a view's HTML shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import Slider
from flask import Flask, render_template_string
from jinja2 import TemplateSyntaxError

from flask_bokeh import (
    ArgumentsError,
    EmbedError,
    FlaskBokeh,
    FlaskBokehError,
    PulledSession,
    UnknownApplicationError,
)

from .support.html import tokens_in

Render = Callable[..., str]


@pytest.fixture
def render(app: Flask, bokeh: FlaskBokeh) -> Render:
    """Render a template in a request and return the page."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        doc.add_root(Slider(start=0, end=1, value=0, name="one"))
        doc.add_root(Slider(start=0, end=1, value=0, name="two"))

    @bokeh.application("/")
    def root(doc: Document) -> None:
        pass

    bokeh.init_app(app)

    def render(template: str, base: str = "/", **values: Any) -> str:
        with app.test_request_context(
            base, base_url="http://site.test/app" if base == "/app" else None
        ):
            return render_template_string(template, **values)

    return render


def visits(app: Flask, html: str) -> list[Any]:
    return [app.extensions["bokeh"].authorizer.tokens.read(text).visit for text in tokens_in(html)]


def test_bokehjs_is_loaded_once(render: Render) -> None:
    """Several applications on a page load each file of BokehJS once, before the first plot."""
    html = render("{% bokeh '/x' %}{% bokeh '/' %}{% bokeh '/x' %}")
    assert html.count("/bokeh/static/js/bokeh.min.js?v=") == 1
    assert html.count("/bokeh/static/flask_bokeh.js?v=") == 1
    assert html.index("bokeh.min.js") < html.index("flask-bokeh")
    assert len(tokens_in(html)) == len(set(tokens_in(html))) == 3


def test_resources_may_come_first(render: Render) -> None:
    """{% bokeh_resources %} puts BokehJS into the head; the plots load it no more."""
    html = render("<head>{% bokeh_resources %}</head><body>{% bokeh '/x' %}{{ bokeh_resources() }}")
    assert html.count("bokeh.min.js") == 1
    assert html.index("bokeh.min.js") < html.index("</head>")


def test_arguments_and_data(app: Flask, render: Render) -> None:
    """Keywords of the tag are arguments; ``arguments`` and ``data`` are what they are called."""
    html = render("{% bokeh '/x', year=2024, arguments={'a b': 'ü'}, data={'k': [1]} %}")
    (visit,) = visits(app, html)
    assert visit.arguments == {"a b": "ü", "year": "2024"}
    assert visit.data == {"k": [1]}
    assert visit.path == "/x"


def test_functions_are_globals(app: Flask, render: Render) -> None:
    """The functions are there as Jinja globals, and what they return is not escaped."""
    html = render("{{ server_document('/x', data={'k': 1}) }}")
    assert '<script type="application/json" data-flask-bokeh>' in html
    assert visits(app, html)[0].data == {"k": 1}


def test_a_script_name_is_followed_and_escaped(
    app: Flask, bokeh: FlaskBokeh, render: Render
) -> None:
    """URLs follow SCRIPT_NAME, and one with markup in it cannot break out."""
    nasty = "/a\"'</script><script>alert(1)//"
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": nasty}):
        html = render_template_string("{% bokeh '/x' %}")
    assert "alert(1)" not in html.replace("alert%281%29", "")
    assert "%3C/script%3E%3Cscript%3E" in html
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": "/app"}):
        html = render_template_string("{% bokeh '/x' %}")
    assert 'src="/app/bokeh/static/js/bokeh.min.js' in html
    assert '"/app/bokeh/x"' in html


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("/user/jane@example.org/proxy/5000", "/user/jane%40example.org/proxy/5000"),
        ("/größe", "/gr%C3%B6%C3%9Fe"),
        ("/a b", "/a%20b"),
    ],
)
def test_a_script_name_is_quoted_once(
    app: Flask, bokeh: FlaskBokeh, render: Render, name: str, quoted: str
) -> None:
    """Files and WebSockets are under the same address, as a browser writes it."""
    in_wsgi = name.encode().decode("latin-1")  # PEP 3333
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": in_wsgi}):
        html = render_template_string("{% bokeh '/x' %}")
    assert f'src="{quoted}/bokeh/static/js/bokeh.min.js' in html
    assert f'"{quoted}/bokeh/x"' in html
    assert f'"{quoted}/bokeh/x/ws"' in html


def test_nothing_of_the_visit_breaks_out_of_the_script(render: Render) -> None:
    """Arguments with markup travel inside the token only."""
    html = render("{% bokeh '/x', data={'k': '</script><script>alert(1)</script>'} %}")
    assert "alert(1)" not in html


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{% bokeh '/nope' %}", UnknownApplicationError, "Registered: /, /x"),
        ("{% bokeh %}", EmbedError, "none were"),
        ("{% bokeh 5 %}", EmbedError, "got 5"),
        ("{{ server_session('abc') }}", EmbedError, "got a value of type str; expected"),
        ("{% bokeh session %}", EmbedError, "Flask's cookie session"),
        ("{{ server_session(session) }}", EmbedError, "{% bokeh bokeh_session %}"),
        ("{% bokeh nothing %}", EmbedError, "a variable that is not defined"),
        ("{% bokeh {'key': 'hidden'} %}", EmbedError, "got a value of type dict; expected"),
        ("{% bokeh '/x', data=5 %}", ArgumentsError, "expected a dict"),
        ("{% bokeh '/x' 5 %}", TemplateSyntaxError, "expected token ','"),
        ("{% bokeh '/x', '/y' %}", TemplateSyntaxError, "takes one path or session"),
        ("{% bokeh_resources 1 %}", TemplateSyntaxError, "takes no arguments"),
    ],
)
def test_wrong_use(render: Render, template: str, error: type[Exception], message: str) -> None:
    """Each mistake gets an error that says what would be right."""
    with pytest.raises(error, match=re.escape(message)):
        render(template)


def test_the_session_of_this_request(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """{% bokeh %} shows the one session that was pulled; with two it wants a name."""

    @app.get("/one")
    @bokeh.with_session("/x")
    def one(bokeh_session: PulledSession) -> str:
        html = render_template_string("{% bokeh %}")
        assert tokens_in(html) == [bokeh_session.token.encoded]
        return html

    @app.get("/two")
    def two() -> str:
        with bokeh.pull_session("/x") as first, bokeh.pull_session("/x") as second:
            html = render_template_string("{% bokeh b %}{% bokeh a %}", a=first, b=second)
            assert tokens_in(html) == [second.token.encoded, first.token.encoded]
            return render_template_string("{% bokeh %}")

    app.testing = True
    assert app.test_client().get("/one").status_code == 200
    with pytest.raises(EmbedError, match="but 2 were"):
        app.test_client().get("/two")


def test_keywords_for_a_pulled_session(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """Keywords that a pulled session does not accept are refused, with the name of the tag."""
    with (
        app.test_request_context(),
        bokeh.pull_session("/x") as session,
        pytest.raises(EmbedError, match=r"{% bokeh %} takes model=... .*, not modle\."),
    ):
        render("{% bokeh s, modle=3 %}", s=session)


def test_one_root_of_a_session(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """server_session(model=...) shows that root and hides the others; a stranger is refused."""
    with app.test_request_context(), bokeh.pull_session("/x") as session:
        two = session.document.select_one({"name": "two"})
        with pytest.raises(EmbedError, match=r"is not a root .* Slider\(id="):
            bokeh.server_session(session, model=Slider(start=0, end=1, value=0))
        session.embedded = False
        html = bokeh.server_session(session, model=two)
    places = re.findall(r'<div id="[^"]+" data-root-id="([^"]+)"( hidden)?>', html)
    assert [hidden for _, hidden in places] == [" hidden", ""]
    assert places[1][0] == two.id


def test_pages_with_a_token_are_not_stored(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """A response that holds a token says no-store, whatever the view says; others are left."""

    @app.get("/plot")
    def plot() -> Any:
        response = app.make_response(render_template_string("{% bokeh '/x' %}"))
        response.cache_control.public = True
        return response

    @app.get("/text")
    def text() -> str:
        return "no plot"

    client = app.test_client()
    assert client.get("/plot").headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in client.get("/text").headers


def test_a_site_may_replace_our_templates(tmp_path: Any, bokeh: FlaskBokeh) -> None:
    """templates/flask_bokeh/embed.html of the site wins over ours."""
    (tmp_path / "templates" / "flask_bokeh").mkdir(parents=True)
    (tmp_path / "templates" / "flask_bokeh" / "embed.html").write_text("<my-plot/>")
    app = Flask("site", root_path=str(tmp_path))
    app.secret_key = "x" * 20
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        assert render_template_string("{% bokeh '/x' %}") == "<my-plot/>"


def test_several_sites_and_prefixes(bokeh: FlaskBokeh) -> None:
    """One extension serves several Flask applications with settings of their own."""
    bokeh.add_application("/x", lambda doc: None)
    pages = []
    for prefix in ("/bokeh", "/plots"):
        app = Flask(prefix.strip("/"))
        app.secret_key = prefix * 10
        app.config["BOKEH_URL_PREFIX"] = prefix
        bokeh.init_app(app)
        with app.test_request_context():
            pages.append(render_template_string("{% bokeh '/x' %}"))
            with bokeh.pull_session("/x"):
                pass
    assert '"/bokeh/x"' in pages[0]
    assert '"/plots/x"' in pages[1]


def test_resources_from_elsewhere(app: Flask, bokeh: FlaskBokeh) -> None:
    """BOKEH_RESOURCES says where BokehJS comes from."""
    for mode, sign in (("cdn", "https://cdn.bokeh.org/"), ("inline", "Copyright (c) Anaconda")):
        site, extension = Flask(mode), FlaskBokeh(resources=mode)
        site.secret_key = "x" * 20
        extension.init_app(site)
        with site.test_request_context():
            assert sign in extension.resources()


def test_no_key_at_all(caplog: pytest.LogCaptureFixture, bokeh: FlaskBokeh) -> None:
    """Without any key the plots work, and a warning says what will not."""
    app = Flask("keyless")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        html = render_template_string("{% bokeh '/x' %}")
    assert len(tokens_in(html)) == 1
    assert "do not work with several workers" in caplog.text


def test_outside_a_request(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """Markup without a request is refused by Flask's own error."""
    with pytest.raises((RuntimeError, FlaskBokehError), match="context"):
        bokeh.server_document("/x")
