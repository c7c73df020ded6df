"""The Bokeh server on a loop that somebody else owns."""

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
        timeout=10,
    )
    ack = json.loads(socket.recv())
    socket.close()
    return ack["msgtype"]

await asyncio.to_thread(look)
"""


@pytest.mark.live
# pyzmq and ipykernel are not ours to keep from warning, also about what they leave.
@pytest.mark.filterwarnings("default")
def test_a_notebook() -> None:
    """The notebook in docs runs as it is, and a client of its page gets through to the plot."""
    assert run_the_notebook() == ["'ACK'"]
    gc.collect()


def run_the_notebook() -> list[str]:
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    at_end = next(n for n, cell in enumerate(notebook.cells) if "shutdown" in cell.source)
    notebook.cells.insert(at_end, nbformat.v4.new_code_cell(CHECK))
    nbclient.NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    outputs: list[Any] = notebook.cells[at_end].outputs
    return [out.data["text/plain"] for out in outputs if "data" in out]


def test_on_a_running_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """On a loop of the caller's a view in a thread pulls sessions; no thread of ours exists."""
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


def test_on_a_loop_that_runs_later(app: Flask, bokeh: FlaskBokeh) -> None:
    """The classic way: start on IOLoop.current() first, and run the loop afterwards."""
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


def test_what_is_no_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """Something that is no Tornado loop is refused."""
    bokeh.init_app(app)
    with app.app_context(), pytest.raises(TypeError, match="expected a Tornado IOLoop"):
        bokeh.start(io_loop=asyncio)  # type: ignore[arg-type]


def test_a_result_that_comes_as_the_wait_runs_out() -> None:
    """It counts: what was waited for is there."""

    class Late(Future[str]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            self.set_result("here")
            raise TimeoutError

    assert ServerLoop().wait(Late(), what="it", timeout=1) == "here"


def test_a_loop_that_does_not_run() -> None:
    """Work for a loop that never started is refused, not queued for ever."""
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
