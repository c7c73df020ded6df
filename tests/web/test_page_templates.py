"""Templates of applications' own pages, and the escaping of values in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bokeh.document import Document
from bokeh.models import Div, Slider
from flask import Flask
from jinja2 import DictLoader, Environment, Template
from markupsafe import Markup

from flask_bokeh import FlaskBokeh

from ..support.browser import Tab
from ..support.html import tokens_in
from ..support.servers import Live

EVIL = "</title><script>alert('&')</script>"
SHOWS = "{{ title }} {{ typed }} {{ deep.list[0] }} {{ argument() }} {{ html }}"
BLOCKS = """
{% block title %}My {{ title }}{% endblock %}
{% block postamble %}<style>{% include 'styles.css' %}</style>{% endblock %}
{% block contents %}
<main>{{ embed(roots.left) }}<hr>{{ embed(roots.right) | indent(4) }}</main>
{% for name in deep.list %}<b title="{{ name }}">{{ name }}</b>{% endfor %}
{{ SHOWS }}
{% endblock %}
""".replace("{{ SHOWS }}", SHOWS)
WHOLE = """
{% from macros import embed %}
<!DOCTYPE html>
<html lang="en">
  <head><title>{{ title | e if title else "Plot" }}</title>
    {{ bokeh_css | indent(8) }}
    {{ bokeh_js | indent(8) if bokeh_js }}
  </head>
  <body>
    {% for doc in docs %}{{ embed(doc) if doc.elementid }}
      {% for root in doc.roots %}{{ embed(root) | indent(10) }}{% endfor %}
    {% endfor %}
    {{ SHOWS }}
    {{ plot_script | indent(8) }}
  </body>
</html>
""".replace("{{ SHOWS }}", SHOWS)
OLD = """<!DOCTYPE html><html><head><title>{{ title if title else "Plot" }}</title>
{{ bokeh_css }} {{ bokeh_js }}</head>
<body>{{ plot_div|indent(8) }} {{ SHOWS }} {{ plot_script|indent(8) }}</body></html>
""".replace("{{ SHOWS }}", SHOWS)
SUPER = "{% block contents %}<h1>{{ typed }}</h1>{{ super() }}{{ SHOWS }}{% endblock %}".replace(
    "{{ SHOWS }}", SHOWS
)
EXTENDS = "{% extends base %}\n"


def fill(doc: Document) -> None:
    def argument() -> str:
        return str(doc.session_context.request.arguments["q"][0].decode())

    doc.add_root(Div(text="l", name="left"))
    doc.add_root(Slider(start=0, end=1, value=0, name="right"))
    doc.title = EVIL
    doc.template_variables.update(
        typed=EVIL,
        deep={"list": [EVIL, '"quoted" onload=x']},
        html=Markup("<em>mine</em>"),
        argument=argument,
    )


def folder_with(tmp_path: Path, template: str) -> Path:
    folder = tmp_path / "folder"
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "index.html").write_text(template)
    (folder / "templates" / "styles.css").write_text("p > b { color: red; }")
    (folder / "main.py").write_text(
        "from bokeh.io import curdoc\n"
        "from tests.web.test_page_templates import fill\n"
        "fill(curdoc())\n"
    )
    return folder


def page_text(app: Flask, bokeh: FlaskBokeh) -> str:
    bokeh.init_app(app)
    answer = app.test_client().get("/bokeh/x", query_string={"q": EVIL})
    assert answer.status_code == 200
    return answer.text


def check_escaping(html: str, title: str = "") -> None:
    """Check that values of Bokeh and of this package are markup, and all others are text."""
    assert len(tokens_in(html)) == 1
    assert html.count(" data-root-id=") == 2
    assert "&lt;div" not in html
    assert "/bokeh/static/js/bokeh.min.js?v=" in html
    # Five files of BokehJS, our code, and the plot's data.
    assert html.count("<script") == html.count("</script>") == 7
    assert f"<title>{title}&lt;/title&gt;&lt;script&gt;alert(&#39;&amp;&#39;)" in html
    assert "<em>mine</em>" in html
    assert html.count("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") >= 5
    assert "&amp;lt;" not in html


@pytest.mark.parametrize("template", [EXTENDS + BLOCKS, WHOLE, OLD, EXTENDS + SUPER])
def test_template_of_a_directory_is_escaped(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, template: str
) -> None:
    """templates/index.html may have each form that Bokeh documents."""
    bokeh.add_application("/x", folder_with(tmp_path, template), page=True)
    html = page_text(app, bokeh)
    check_escaping(html, "My " if "block title" in template else "")
    if "styles.css" in template:
        assert "<style>p > b { color: red; }</style>" in html
        assert '<b title="&#34;quoted&#34; onload=x">' in html


@pytest.mark.parametrize("template", [BLOCKS.replace("{% include 'styles.css' %}", ""), SUPER])
def test_template_given_as_a_string_is_escaped(
    app: Flask, bokeh: FlaskBokeh, template: str
) -> None:
    """doc.template may be a string."""

    @bokeh.application("/x", page=True)
    def plot(doc: Document) -> None:
        fill(doc)
        doc.template = template  # type: ignore[assignment]

    check_escaping(page_text(app, bokeh), "My " if "block title" in template else "")


def test_default_template_escapes_the_title(app: Flask, bokeh: FlaskBokeh) -> None:
    bokeh.application("/x", page=True)(fill)
    html = page_text(app, bokeh)
    assert "<title>&lt;/title&gt;&lt;script&gt;" in html
    assert "alert('&')" not in html


def test_template_keeps_the_autoescape_of_its_environment(app: Flask, bokeh: FlaskBokeh) -> None:
    """Bokeh's markup stays markup in a template of an environment with autoescape."""
    own = Environment(loader=DictLoader({"x.html": OLD}), autoescape=True)

    @bokeh.application("/x", page=True)
    def plot(doc: Document) -> None:
        fill(doc)
        doc.template = own.get_template("x.html")

    check_escaping(page_text(app, bokeh))


def test_title_is_text_if_the_template_escapes_nothing(app: Flask, bokeh: FlaskBokeh) -> None:
    """The title is escaped even in a template that cannot be compiled again."""

    @bokeh.application("/x", page=True)
    def plot(doc: Document) -> None:
        doc.title = EVIL
        doc.template = Template("<title>{{ title }}</title>")

    assert "<script>" not in page_text(app, bokeh)


def test_page_of_a_template_is_live_and_runs_no_typed_script(
    live: Live, tab: Tab, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, EXTENDS + BLOCKS)
    (folder / "__init__.py").write_text("")
    site = live(app=f"tests.web.test_page_templates:create_app({str(folder)!r})")
    tab.page.on("dialog", lambda dialog: tab.trouble.append(dialog.message))
    tab.open(f"{site.url}/bokeh/x?q=<script>alert(1)</script>")
    assert tab.page.title() == EVIL  # BokehJS sets it to the document's
    tab.move_slider()
    tab.page.wait_for_function("Bokeh.documents[0].get_model_by_name('right').value > 0")


def create_app(folder: str) -> Flask:
    app, bokeh = Flask(__name__), FlaskBokeh()
    app.secret_key = "a secret key for the tests only"
    bokeh.add_application("/x", folder, page=True)
    bokeh.init_app(app)
    app.add_url_rule("/favicon.ico", view_func=lambda: ("", 204))
    return app
