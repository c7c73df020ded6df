"""A site for tests of reloads and of values that can't be sent. Settings: ``SITE_CONFIG``."""

from __future__ import annotations

from decimal import Decimal

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import Button, ColumnDataSource, CustomJS, Div, FileInput, Slider, TextInput
from flask import Flask, redirect, render_template_string, request
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from flask_bokeh import FlaskBokeh, PulledSession

from .configured import configured

bokeh = FlaskBokeh()
PAGE = "<!doctype html><title>t</title><link rel=icon href='data:,'><body>{}</body>"


@bokeh.user_loader
def user() -> str:
    return "ann"


@bokeh.application("/plot")
def plot(doc: Document) -> None:
    slider = Slider(start=0, end=10, value=1, name="k")
    text = TextInput(name="text")
    shown = Div(text="k=1", name="shown")
    slider.on_change("value", lambda attr, old, new: shown.update(text=f"k={new}"))
    doc.add_root(column(slider, text, shown))


@bokeh.application("/upload", page=True)
def upload(doc: Document) -> None:
    chosen = FileInput(name="file")
    shown = Div(text="nothing", name="shown")
    chosen.on_change("value", lambda attr, old, new: shown.update(text=f"{len(new)} letters"))
    doc.add_root(column(chosen, shown))


@bokeh.application("/source")
def source(doc: Document) -> None:
    doc.add_root(Div(text="data"))
    doc.add_root(ColumnDataSource({"x": [0]}, name="source"))


@bokeh.application("/decimal", page=True)
def decimal(doc: Document) -> None:
    doc.add_periodic_callback(lambda: None, 50)
    for text in ("first", "second"):
        doc.add_root(Div(text=text))
    doc.add_root(ColumnDataSource({"n": [1], "price": [Decimal("1.5")]}, name="sales"))


@bokeh.application("/callback")
def callback(doc: Document) -> None:
    """Add a button that gives the document a value that can't be sent."""
    button = Button(label="break", name="button")
    button.on_click(lambda: button.update(tags=[Decimal("1.5")]))
    doc.add_root(button)


@bokeh.application("/js")
def js(doc: Document) -> None:
    """Put a value that can't be sent into a callback instead of a root."""
    doc.add_root(Div(text="fine"))
    doc.js_on_event("document_ready", CustomJS(args={"price": Decimal("1.5")}, code=""))


@bokeh.application("/title")
def title(doc: Document) -> None:
    doc.title = Decimal("1.5")  # type: ignore[assignment]
    doc.add_root(Div(text="fine"))


def create_app() -> Flask:
    app = configured(__name__)
    bokeh.init_app(app)
    counts: dict[str, int] = {}

    def page(body: str, **values: object) -> str:
        return render_template_string(PAGE.format(body), **values)

    @app.get("/")
    def form() -> str:
        return page(
            "<form method=post action=/order><button>Order</button></form>"
            "<form method=post action=/redirected><button id=then>Order</button></form>"
        )

    @app.route("/order", methods=["GET", "POST"])
    @bokeh.with_session("/plot")
    def order(bokeh_session: PulledSession) -> str:
        return page("<h1>Thank you</h1>{% bokeh %}")

    @app.post("/redirected")
    def redirected() -> BaseResponse:
        return redirect("/order", 303)

    @app.get("/note")
    @bokeh.with_session("/plot")
    def note(bokeh_session: PulledSession) -> str:
        return page(
            "{% bokeh %}<form><input id=field><textarea></textarea>"
            "<input type=checkbox><input type=range><input type=hidden value=x></form>"
            "<p contenteditable>text</p>"
        )

    @app.get("/dated")
    @bokeh.with_session("/plot")
    def dated(bokeh_session: PulledSession) -> str:
        return page("{% bokeh %}<input id=day><script>day.value = '2026-11-25'</script>")

    @app.route("/fragment", methods=["GET", "POST"])
    @bokeh.with_session("/plot")
    def fragment(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}")

    @app.route("/around", methods=["GET", "POST"])
    def around() -> str:
        return page("{% bokeh_resources %}<form method=post><button>Order</button></form>")

    @app.get("/frame")
    @app.get("/sandbox")
    def frame() -> str:
        inner = Markup(page("{% bokeh '/plot' %}"))
        sandbox = "sandbox='allow-scripts allow-same-origin'" if "box" in request.path else ""
        body = "<iframe {{ sandbox }} srcdoc='{{ inner|forceescape }}'></iframe>"
        return render_template_string(PAGE.format(body), inner=inner, sandbox=Markup(sandbox))

    @app.get("/frame-pulled")
    @bokeh.with_session("/plot")
    def frame_pulled(bokeh_session: PulledSession) -> str:
        inner = Markup(page("{% bokeh %}"))
        return page("<iframe srcdoc='{{ inner|forceescape }}'></iframe>", inner=inner)

    @app.get("/show/<name>")
    def show(name: str) -> str:
        return page("<h1>works</h1>{% bokeh path %}", path=f"/{name}")

    @app.get("/second-root")
    @bokeh.with_session("/decimal")
    def second_root(bokeh_session: PulledSession) -> str:
        root = bokeh_session.document.roots[1]
        return page("<h1>works</h1>{% bokeh pulled, model=root %}", pulled=bokeh_session, root=root)

    @app.get("/pull/<transport>")
    def pull(transport: str) -> str:
        with bokeh.pull_session("/decimal", transport=transport) as session:
            return page("{% bokeh pulled %}", pulled=session)

    @app.post("/close")
    def close() -> str:
        return str(bokeh.close_sessions(user="ann"))

    @app.post("/cut")
    def cut() -> str:
        """Close every open socket, as if the network had failed."""
        server = app.extensions["bokeh"].servers.get()

        async def close() -> None:
            server._running.upgrades.close_sockets(1001)

        server.loop.call(close, what="the sockets to close", timeout=60)
        return "cut"

    @app.before_request
    def count() -> None:
        if not request.path.startswith("/bokeh/"):
            key = f"{request.method} {request.path}"
            counts[key] = counts.get(key, 0) + 1

    @app.get("/counts")
    def tell() -> dict[str, int]:
        return counts

    return app
