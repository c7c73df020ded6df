"""The Jinja tags and the functions behind them: the HTML that a view gets."""

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


def test_resources_tag_loads_bokehjs_before_the_plots(render: Render) -> None:
    """With {% bokeh_resources %} in the head, the plots do not load BokehJS again."""
    html = render("<head>{% bokeh_resources %}</head><body>{% bokeh '/x' %}{{ bokeh_resources() }}")
    assert html.count("bokeh.min.js") == 1
    assert html.index("bokeh.min.js") < html.index("</head>")


def test_tag_passes_arguments_and_data(app: Flask, render: Render) -> None:
    """Keywords of the tag become arguments, except for ``arguments`` and ``data``."""
    html = render("{% bokeh '/x', year=2024, arguments={'a b': 'ü'}, data={'k': [1]} %}")
    (visit,) = visits(app, html)
    assert visit.arguments == {"a b": "ü", "year": "2024"}
    assert visit.data == {"k": [1]}
    assert visit.path == "/x"


def test_functions_are_jinja_globals(app: Flask, render: Render) -> None:
    """Jinja does not escape the HTML that they return."""
    html = render("{{ server_document('/x', data={'k': 1}) }}")
    assert '<script type="application/json" data-flask-bokeh>' in html
    assert visits(app, html)[0].data == {"k": 1}


def test_urls_have_the_script_name_escaped(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    """Markup in SCRIPT_NAME cannot leave its attribute or script."""
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
def test_script_name_is_quoted_once(
    app: Flask, bokeh: FlaskBokeh, render: Render, name: str, quoted: str
) -> None:
    """The URLs of files and WebSockets have the same prefix, as a browser writes it."""
    in_wsgi = name.encode().decode("latin-1")  # PEP 3333
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": in_wsgi}):
        html = render_template_string("{% bokeh '/x' %}")
    assert f'src="{quoted}/bokeh/static/js/bokeh.min.js' in html
    assert f'"{quoted}/bokeh/x"' in html
    assert f'"{quoted}/bokeh/x/ws"' in html


def test_data_with_markup_appear_only_in_the_token(render: Render) -> None:
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
def test_wrong_use_is_refused_with_an_explanation(
    render: Render, template: str, error: type[Exception], message: str
) -> None:
    """The error for each mistake says what is expected."""
    with pytest.raises(error, match=re.escape(message)):
        render(template)


def test_tag_without_argument_shows_the_only_pulled_session(
    app: Flask, bokeh: FlaskBokeh, render: Render
) -> None:
    """After two pulls, {% bokeh %} is refused: it must name the session."""

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


def test_unknown_keywords_for_a_pulled_session_are_refused(
    app: Flask, bokeh: FlaskBokeh, render: Render
) -> None:
    """The error has the name of the tag."""
    with (
        app.test_request_context(),
        bokeh.pull_session("/x") as session,
        pytest.raises(EmbedError, match=r"{% bokeh %} takes model=... .*, not modle\."),
    ):
        render("{% bokeh s, modle=3 %}", s=session)


def test_server_session_shows_only_the_given_root(
    app: Flask, bokeh: FlaskBokeh, render: Render
) -> None:
    """``server_session(model=...)`` hides the other roots; a model of no root is refused."""
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
    """A response with a token is no-store, even if its view says public; others are unchanged."""

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


def test_sites_template_replaces_that_of_the_extension(tmp_path: Any, bokeh: FlaskBokeh) -> None:
    """The site's ``templates/flask_bokeh/embed.html`` has priority."""
    (tmp_path / "templates" / "flask_bokeh").mkdir(parents=True)
    (tmp_path / "templates" / "flask_bokeh" / "embed.html").write_text("<my-plot/>")
    app = Flask("site", root_path=str(tmp_path))
    app.secret_key = "x" * 20
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        assert render_template_string("{% bokeh '/x' %}") == "<my-plot/>"


def test_extension_serves_several_flask_applications(bokeh: FlaskBokeh) -> None:
    """Each Flask application has its own settings."""
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


def test_resources_setting_chooses_the_source_of_bokehjs(app: Flask, bokeh: FlaskBokeh) -> None:
    for mode, sign in (("cdn", "https://cdn.bokeh.org/"), ("inline", "Copyright (c) Anaconda")):
        site, extension = Flask(mode), FlaskBokeh(resources=mode)
        site.secret_key = "x" * 20
        extension.init_app(site)
        with site.test_request_context():
            assert sign in extension.resources()


def test_missing_key_is_logged_as_a_warning(
    caplog: pytest.LogCaptureFixture, bokeh: FlaskBokeh
) -> None:
    """Plots work without a key, in one worker."""
    app = Flask("keyless")
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    with app.test_request_context():
        html = render_template_string("{% bokeh '/x' %}")
    assert len(tokens_in(html)) == 1
    assert "do not work with several workers" in caplog.text


def test_markup_outside_a_request_is_refused(app: Flask, bokeh: FlaskBokeh, render: Render) -> None:
    with pytest.raises((RuntimeError, FlaskBokehError), match="context"):
        bokeh.server_document("/x")
