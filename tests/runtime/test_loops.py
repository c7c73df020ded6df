"""The Bokeh server on an event loop of the caller."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from tornado.ioloop import IOLoop

from flask_bokeh import FlaskBokeh, LoopThreadError, ServerStartError
from flask_bokeh.runtime.loop import ServerLoop

from ..support import ROOT
from ..support.html import tokens_in

CHECK = """
import asyncio, json, re, urllib.request, websocket

def look():
    html = urllib.request.urlopen(url, timeout=60).read().decode()
    token = re.search(r'"token":"([^"]+)"', html)[1]
    address = url.removeprefix("http").replace("://", "ws://")
    socket = websocket.create_connection(
        f"{address}bokeh/slider/ws", subprotocols=["bokeh", token], origin=url.rstrip("/"),
        timeout=60,
    )
    ack = json.loads(socket.recv())
    socket.close()
    return ack["msgtype"]

await asyncio.to_thread(look)
"""


@pytest.mark.live
# pyzmq and ipykernel warn, also about resources that they do not close.
@pytest.mark.filterwarnings("default")
def test_notebook_of_the_documentation_serves_its_plot() -> None:
    """The notebook in docs runs unchanged, and a client of its page opens a session."""
    assert run_notebook() == ["'ACK'"]
    gc.collect()


def run_notebook() -> list[str]:
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    at_end = next(n for n, cell in enumerate(notebook.cells) if "shutdown" in cell.source)
    notebook.cells.insert(at_end, nbformat.v4.new_code_cell(CHECK))
    nbclient.NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    outputs: list[Any] = notebook.cells[at_end].outputs
    return [out.data["text/plain"] for out in outputs if "data" in out]


def test_views_pull_sessions_on_a_running_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """A view in a thread pulls a session from the server on the caller's loop."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)

    def view() -> str:
        with app.test_request_context(), bokeh.pull_session("/x") as session:
            return str(bokeh.server_session(session))

    async def main() -> None:
        with app.app_context():
            bokeh.start(io_loop=IOLoop.current())
            with ThreadPoolExecutor(1) as pool:
                html = await asyncio.get_running_loop().run_in_executor(pool, view)
                assert len(tokens_in(html)) == 1
            with pytest.raises(LoopThreadError, match="would wait for itself"):
                view()
            another = IOLoop(make_current=False)
            with pytest.raises(ServerStartError, match="on another loop"):
                bokeh.start(io_loop=another)
            another.close(all_fds=True)
            await bokeh.stop_async()

    asyncio.run(main())


def test_server_starts_on_a_loop_that_runs_later(app: Flask, bokeh: FlaskBokeh) -> None:
    """start() uses IOLoop.current(), which is run afterwards."""
    bokeh.init_app(app)
    asyncio.set_event_loop(asyncio.new_event_loop())
    loop = IOLoop.current()

    async def stop() -> None:
        await bokeh.stop_async()
        loop.stop()

    with app.app_context():
        bokeh.start(io_loop=loop)
        loop.add_callback(stop)
        loop.call_later(20, loop.stop)
        loop.start()
        assert app.extensions["bokeh"].servers.running() is None
    loop.close(all_fds=True)
    asyncio.set_event_loop(None)


def test_object_that_is_no_loop_is_refused(app: Flask, bokeh: FlaskBokeh) -> None:
    """start() accepts Tornado loops only."""
    bokeh.init_app(app)
    with app.app_context(), pytest.raises(TypeError, match="expected a Tornado IOLoop"):
        bokeh.start(io_loop=asyncio)  # type: ignore[arg-type]


def test_result_at_the_end_of_the_wait_is_returned() -> None:
    """A result that arrives together with the time-out is returned."""

    class Late(Future[str]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            self.set_result("here")
            raise TimeoutError

    assert ServerLoop().wait(Late(), what="it", timeout=1) == "here"


def test_loop_that_does_not_run_refuses_work() -> None:
    """Work is refused before the start and after the stop of the loop, not queued for ever."""
    from flask_bokeh import ServerStoppedError

    async def work() -> None:
        pass

    loop = ServerLoop()
    with pytest.raises(ServerStoppedError):
        loop.submit(work)
    loop.start(5)
    loop.call(work, what="nothing", timeout=5)
    assert loop.stop(5)
    assert loop.stop(5)
    with pytest.raises(ServerStoppedError):
        loop.submit(work)
