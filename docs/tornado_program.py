"""A Tornado program that serves a Flask site, with the Bokeh server on the program's own loop.

Tornado's WSGI container does not hand out sockets, so browsers reach the plots on the Bokeh
server's own port (``BOKEH_TRANSPORT = "port"``). Run it: ``python docs/tornado_program.py``.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor

from bokeh.document import Document
from bokeh.models import ColumnDataSource, Slider
from flask import Flask, render_template_string
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.wsgi import WSGIContainer

from flask_bokeh import FlaskBokeh, PulledSession

bokeh = FlaskBokeh()


@bokeh.application("/slider")
def slider(doc: Document) -> None:
    source = ColumnDataSource({"x": [0]}, name="data")
    slider = Slider(title="plain", start=0, end=10, value=1, name="k")
    slider.on_change("value", lambda attr, old, new: source.stream({"x": [new]}))
    doc.add_root(slider)
    doc.add_root(source)


def create_app(origin: str) -> Flask:
    app = Flask(__name__)
    app.secret_key = "a stable secret, in real life from the environment"
    app.config.update(BOKEH_TRANSPORT="port", BOKEH_ALLOW_WS_ORIGIN=[origin])
    bokeh.init_app(app)

    @app.get("/")
    @bokeh.with_session("/slider")
    def index(bokeh_session: PulledSession) -> str:
        bokeh_session.document.select_one({"name": "k"}).title = "on Tornado's loop"
        return render_template_string("<body>{% bokeh %}</body>")

    return app


async def main(port: int = 0) -> None:
    sockets = bind_sockets(port, "127.0.0.1")
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    app = create_app(url)
    with app.app_context():
        bokeh.start(io_loop=IOLoop.current())
    # Views run in threads: a view that waits for the loop must not be on it.
    server = HTTPServer(WSGIContainer(app, executor=ThreadPoolExecutor(4)))
    server.add_sockets(sockets)
    print(f"Running on {url}", flush=True)  # noqa: T201

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.stop()
    with app.app_context():
        await bokeh.stop_async()


if __name__ == "__main__":
    asyncio.run(main())
