"""The site of most live tests. Settings come in ``SITE_CONFIG``."""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import Button, ColumnDataSource, Slider
from bokeh.plotting import figure
from flask import Flask, Response, jsonify, render_template_string, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_bokeh import FlaskBokeh, PulledSession, Visit
from flask_bokeh.bokeh_api import close_websockets
from flask_bokeh.hijack.stream import PrefixedIOStream
from flask_bokeh.runtime.gevent import unpatched
from flask_bokeh.server.in_process import InProcessServer

from .configured import configured

bokeh = FlaskBokeh()

PAGE = "<!doctype html><title>t</title><link rel=icon href='data:,'><body>{body}</body>"


@bokeh.application("/sliders", page=True)
def sliders(doc: Document) -> None:
    source = ColumnDataSource({"x": [1, 2, 3], "y": [1, 2, 3]})
    plot = figure(title="plain", name="plot", height=200, width=400)
    plot.line("x", "y", source=source)
    slider = Slider(start=0, end=10, value=1, step=1, title="k", name="k")

    def changed(attr: str, old: int, new: int) -> None:
        source.data = {"x": [1, 2, 3], "y": [new, 2 * new, 3 * new]}
        plot.title.text = f"{plot.title.text.partition(' k=')[0]} k={new}"

    slider.on_change("value", changed)
    doc.add_root(column(slider, plot))


@bokeh.application("/hooked")
def hooked(doc: Document) -> None:
    sliders(doc)


@bokeh.application("/two")
def two(doc: Document) -> None:
    for name in ("left", "right"):
        plot = figure(title=name, name=name, height=150, width=200)
        plot.scatter([1, 2], [1, 2])
        doc.add_root(plot)


@bokeh.application("/tiny")
def tiny(doc: Document) -> None:
    doc.add_root(Slider(start=0, end=10, value=1, name="k"))


@bokeh.application("/big")
def big(doc: Document) -> None:
    """Send 30 MB of data after a click."""
    source = ColumnDataSource({"x": np.zeros(0)}, name="source")
    button = Button(label="more", name="more")

    def more() -> None:
        source.data = {"x": np.arange(30_000_000 / 8)}
        button.label = "done"

    button.on_click(more)
    doc.add_root(button)
    doc.add_root(source)


@bokeh.application("/raises")
def raises(doc: Document) -> None:
    doc.add_periodic_callback(lambda: None, 50)
    raise LookupError("the data are gone")


@bokeh.application("/hook-raises")
def hook_raises(doc: Document) -> None:
    sliders(doc)


@bokeh.application("/late", page=True)
def late(doc: Document) -> None:
    """Fill the document after it has been created."""
    doc.add_next_tick_callback(lambda: sliders(doc))


@bokeh.application("/slow")
def slow(doc: Document) -> None:
    time.sleep(2)
    tiny(doc)


@bokeh.customize("/hooked")
def greet(doc: Document, visit: Visit) -> None:
    doc.select_one(
        {"name": "plot"}
    ).title.text = (
        f"for {visit.user} {visit.arguments.get('year', '')} {visit.data.get('shop', '')}"
    )


@bokeh.customize("/hook-raises")
def bad_hook(doc: Document, visit: Visit) -> None:
    raise KeyError("no such column")


@bokeh.user_loader
def user() -> str | None:
    return request.args.get("user")


def create_app() -> Flask:
    app = configured(__name__)
    bokeh.init_app(app)
    if app.config.get("PROXIES"):
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]

    def page(body: str, **values: object) -> str:
        return render_template_string(PAGE.format(body=body), **values)

    @app.get("/")
    def index() -> str:
        return page("<h1>plain</h1>{% bokeh '/sliders' %}")

    @app.get("/hook")
    def hook() -> str:
        return page("{% bokeh '/hooked', year=2024, data={'shop': 'Lyon'} %}")

    @app.get("/mine")
    @bokeh.with_session("/sliders")
    def mine(bokeh_session: PulledSession) -> str:
        edit(bokeh_session)
        return page("{% bokeh %}")

    @app.get("/client")
    @bokeh.with_session("/sliders", transport="client")
    def client(bokeh_session: PulledSession) -> str:
        edit(bokeh_session)
        return page("{% bokeh %}")

    @app.get("/tiny/<transport>")
    def tiny_page(transport: str) -> str:
        with bokeh.pull_session("/tiny", transport=transport) as session:
            session.document.select_one({"name": "k"}).value = 5
        return page("{% bokeh session %}", session=session)

    @app.get("/pull-raises/<transport>")
    def pull_raises(transport: str) -> str:
        with bokeh.pull_session("/raises", transport=transport):
            return "unreachable"

    @app.get("/many")
    def many() -> str:
        with bokeh.pull_session("/sliders") as one, bokeh.pull_session("/two") as other:
            edit(one)
        return page(
            "{% bokeh one %}{% bokeh '/hooked' %}{{ server_session(other, model=right) }}",
            one=one,
            other=other,
            right=other.document.roots[1],
        )

    @app.get("/broken")
    def broken() -> str:
        return page("<h1>works</h1>{% bokeh '/raises' %}{% bokeh '/hook-raises' %}")

    @app.get("/big")
    def big_page() -> str:
        return page("{% bokeh '/big' %}")

    @app.get("/sleep")
    def sleep() -> str:
        print("begins to sleep", flush=True)  # noqa: T201
        time.sleep(1)
        return "slept"

    @app.get("/slow")
    @bokeh.with_session("/slow")
    def slow_page(bokeh_session: PulledSession) -> str:
        return "ok"

    @app.get("/favicon.ico")
    def favicon() -> tuple[str, int]:
        return "", 204

    @app.post("/cut")
    def cut() -> str:
        """Close every open socket in the middle of a message, as if the network had failed."""
        server = app.extensions["bokeh"].servers.get()

        async def close() -> None:
            header = b'{"msgid": "1", "msgtype": "PATCH-DOC"}'
            for stream in streams(server):
                stream.write(bytes([0x81, len(header)]) + header)
            server._running.upgrades.close_sockets(1001)
            for session in server.bokeh.get_sessions():  # sockets of the transport "port"
                close_websockets(session, 1001, "cut")

        server.loop.call(close, what="the sockets to close", timeout=60)
        return "cut"

    if app.config.get("NEW_RESPONSE"):

        @app.after_request
        def rebuild(response: Response) -> Response:
            """Replace the response, as some extensions do."""
            return Response(response.get_data(), response.status, response.headers)

    @app.get("/block")
    def block() -> str:
        """Block the thread of the operating system, with all greenlets of gevent, until a file
        exists.
        """
        for _ in range(600):
            if os.path.exists(request.args["until"]):
                return "the file exists"
            unpatched("time", "sleep")(0.1)
        return "the file does not exist"

    @app.post("/fork")
    def fork() -> str:
        """Fork, like a view that computes in another process."""
        if (child := os.fork()) == 0:
            time.sleep(30)
            os._exit(0)
        return str(child)

    @app.post("/length")
    def length() -> str:
        return str(len(request.get_data()))

    @app.get("/upgrade")
    def upgrade() -> Response:
        """Return headers that a proxy has set."""
        headers = request.headers
        return jsonify(upgrade=headers.get("Upgrade"), connection=headers.get("Connection"))

    @app.post("/close")
    def close() -> str:
        return str(bokeh.close_sessions(user="ann"))

    @app.get("/stats")
    def stats() -> Response:
        state = app.extensions["bokeh"]
        server = state.servers.running()
        sessions = [] if server is None else server.bokeh.get_sessions()
        return jsonify(
            pid=os.getpid(),
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            sessions=len([one for one in sessions if not one.expiration_requested]),
            sockets=0 if server is None else server.open_sockets,
            port=None if server is None else server.port,
            nodelay=[] if server is None else nodelay(server),
        )

    return app


def streams(server: InProcessServer) -> list[PrefixedIOStream]:
    assert server._running.upgrades is not None
    return [stream for some in server._running.upgrades._streams.values() for stream in some]


def nodelay(server: InProcessServer) -> list[int]:
    """Return TCP_NODELAY of each hijacked connection."""

    async def read() -> list[int]:
        return [
            stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for stream in streams(server)
            if not stream.closed()  # it may still read the data of a refused client
        ]

    return server.loop.call(read, what="the sockets' options", timeout=60)


def edit(session: PulledSession) -> None:
    name = request.args.get("user", "nobody")
    session.document.select_one({"name": "plot"}).title.text = f"made for {name}"
