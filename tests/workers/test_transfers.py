"""Sockets passed between workers, and plots when workers come and go."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from urllib.request import urlopen

import pytest

from ..support.browser import Tab
from ..support.servers import Live, LiveServer
from ..support.sockets import RefusedError, connect
from ..support.waiting import TIMEOUT, eventually

# gunicorn's access log, with the worker's pid.
LOG_PIDS = ["--access-logformat", "%(p)s %(r)s %(s)s"]


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_every_socket_reaches_its_session(live: Live, config: dict[str, str], kind: str) -> None:
    """Every socket reaches its pulled session with three workers and no sticky sessions."""
    site, loads = live(kind, config=config, args=["-w", "3", *LOG_PIDS]), 50

    def load(number: int) -> bool:
        with connect(
            site, "/sliders", site.token(f"/mine?user=u{number}"), query=f"user=u{number}"
        ) as s:
            return s.titles() == [f"made for u{number}"]

    def workers(path: str) -> dict[str, str]:
        return {user: pid for pid, user in re.findall(rf"<(\d+)> GET {path}(u\d+) ", site.log)}

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(load, range(loads))) == loads
    eventually(lambda: len(workers(r"/bokeh/sliders/ws\?user=")) == loads, "the log")
    pages, sockets = workers(r"/mine\?user="), workers(r"/bokeh/sliders/ws\?user=")
    passed_on = sum(pages[user] != sockets[user] for user in pages)
    assert passed_on > loads / 6, passed_on  # two thirds on average


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-sync-tls"])
def test_application_of_a_page_runs_once_for_all_workers(
    live: Live, config: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """A page's application runs again only if its session ended or TLS prevents a transfer."""
    (tmp_path / "made.py").write_text(
        "import os, time\n"
        "from bokeh.models import Div\n"
        "from flask import Flask, Response\n"
        "from flask_bokeh import FlaskBokeh\n"
        "bokeh = FlaskBokeh()\n"
        "@bokeh.application('/made', page=True)\n"
        "def made(doc):\n"
        "    print('made by', os.getpid(), flush=True)\n"
        "    doc.add_root(Div(text='made'))\n"
        "app = Flask('made')\n"
        f"app.config['BOKEH_RUNTIME_DIR'] = {config['BOKEH_RUNTIME_DIR']!r}\n"
        "app.secret_key = 'for the tests only'\n"
        "bokeh.init_app(app)\n"
        "def parts():\n"
        "    while True:\n"
        "        yield 'part'\n"
        "        time.sleep(0.05)\n"
        "app.add_url_rule('/endless', view_func=lambda: Response(parts()))\n"
    )
    args = ["--chdir", str(tmp_path), "-w", "2", *LOG_PIDS]
    site = live(kind, "made:app", args=args)

    def workers(path: str) -> list[str]:
        return re.findall(rf"<(\d+)> GET /bokeh/made{path} ", site.log)

    def is_passed_on(number: int) -> bool:
        # The page's worker is busy while its socket arrives, so that the other one accepts it.
        with occupy_worker(site) as first:
            token = site.token("/bokeh/made")
            with occupy_worker(site):
                first.close()
                with connect(site, "/made", token):
                    eventually(lambda: len(workers(r"/ws\S*")) == number, "the log")
        return workers("")[-1] != workers(r"/ws\S*")[-1]

    assert [is_passed_on(number) for number in (1, 2, 3)] == [True] * 3
    runs = 6 if kind.endswith("tls") else 3
    eventually(lambda: site.log.count("made by") == runs, f"{runs} runs of the application")
    token = site.token("/bokeh/made")
    eventually(lambda: site.log.count("made by") == runs + 1, "one more run")
    owner = int(re.findall(r"made by (\d+)", site.log)[-1])
    os.kill(owner, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{owner}").exists(), "the worker to end")
    with connect(site, "/made", token):
        pass
    eventually(lambda: site.log.count("made by") == runs + 2, "the application to run again")
    # A worker of gunicorn that has not started misses the TERM of a stop, and is killed later.
    eventually(lambda: site.get("/bokeh/made") and len({*workers("")}) == 3, "the new worker")


def occupy_worker(site: LiveServer) -> HTTPResponse:
    """Keep a worker without threads busy until the returned response is closed."""
    response: HTTPResponse = urlopen(f"{site.url}/endless", timeout=TIMEOUT, context=site.context)
    return response


@pytest.fixture
def two(live: Live, config: dict[str, str]) -> LiveServer:
    return live("gunicorn-sync", config=config, args=["-w", "2", *LOG_PIDS], clean=False)


def owner_of(site: LiveServer, page: str) -> int:
    """Return the PID of the worker that served a page last."""
    found = rf"<(\d+)> GET {re.escape(page)} "
    return int(eventually(lambda: re.findall(found, site.log), f"{page} in the log")[-1])


def foreign_worker(site: LiveServer, owner: int) -> int:
    return eventually(
        lambda: next((pid for _ in range(20) if (pid := site.stats()["pid"]) != owner), 0),
        "another worker",
    )


def freeze(pid: int) -> None:
    """Stop a process and wait for its last thread, which could still accept a connection."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")

    def stopped() -> bool:
        states = [file.read_text().rpartition(") ")[2][0] for file in threads.glob("*/stat")]
        return set(states) == {"T"}

    eventually(stopped, f"process {pid} to stop")


def test_plots_of_a_killed_worker_come_back(two: LiveServer, tab: Tab) -> None:
    """Hooked sessions of a killed worker are rebuilt in another; pages of pulled ones reload."""
    other = tab.page.context.new_page()
    pulled = Tab(other)
    tab.open(f"{two.url}/hook?user=ann")
    tab.move_slider()
    tab.until_title("for ann 2024 Lyon k=2")  # what a new document does not have
    pulled.open(f"{two.url}/mine?user=bob")
    pulled.move_slider()
    pulled.until_title("made for bob k=2")
    for pid in set(re.findall(r"<(\d+)> GET /(?:bokeh/\w+/ws|mine)\?", two.log)):
        os.kill(int(pid), signal.SIGKILL)
    for page, title in ((tab, "for ann 2024 Lyon"), (pulled, "made for bob")):
        page.until_title(title)
        page.move_slider(2)
        page.until_title(f"{title} k=3")
        page.forgive_the_network()
    assert len(re.findall(r"GET /mine\?user=bob", two.log)) == 2
    assert len(re.findall(r"GET /hook\?user=ann", two.log)) == 1
    assert pulled.trouble == []


def test_sockets_of_a_frozen_worker_are_answered_503(two: LiveServer) -> None:
    """Sockets of a frozen worker are answered 503 in bounded time, and open once it resumes."""
    from websocket import WebSocketException

    token = two.token("/mine?user=ann")
    owner = owner_of(two, "/mine?user=ann")
    other = foreign_worker(two, owner)
    assert other
    freeze(owner)
    try:
        before = time.monotonic()
        with pytest.raises(RefusedError, match="503"):
            connect(two, "/sliders", token, query="user=ann")
        assert time.monotonic() - before < 40
    finally:
        os.kill(owner, signal.SIGCONT)

    def works() -> bool:
        with (
            suppress(OSError, RefusedError, WebSocketException),
            connect(two, "/sliders", token, query="user=ann") as s,
        ):
            return s.titles() == ["made for ann"]
        return False

    eventually(works, "the worker to wake up")
    assert "did not answer within 5 s" in two.log


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_pages_reconnect_after_a_reload(
    live: Live, tab: Tab, config: dict[str, str], kind: str
) -> None:
    """SIGHUP closes sockets with 1001, and pages reconnect to a new personal document."""
    from playwright.sync_api import TimeoutError as BrowserTimeout

    site = live(kind, config=config)
    client = connect(site, "/hooked", site.token("/hook"))
    tab.open(f"{site.url}/hook?user=ann")
    tab.move_slider(2)
    tab.until_title("for ann 2024 Lyon k=3")
    site.process.send_signal(signal.SIGHUP)
    assert client.close_code() == 1001
    client.close()
    tab.until_message("Reconnected websocket")
    tab.until_title("for ann 2024 Lyon")  # a new document

    def answers() -> bool:
        # A worker about to exit may accept the page's reconnect first; a move meanwhile is lost.
        tab.move_slider()
        with suppress(BrowserTimeout):
            tab.page.wait_for_function(
                "Bokeh.documents[0].get_model_by_name('plot').title.text.match(/Lyon k=/)",
                timeout=2_000,
            )
            return True
        return False

    eventually(answers, "the slider to answer")
    tab.forgive_the_network()
    assert tab.page.url.endswith("/hook?user=ann")


def test_max_requests_closes_sockets_with_1001(live: Live, config: dict[str, str]) -> None:
    """A worker recycled by --max-requests closes its sockets with 1001."""
    site = live("gunicorn-sync", config=config, args=["--max-requests", "20"])
    client = connect(site, "/hooked", site.token("/hook"))
    for _ in range(20):
        site.get("/hook")
    assert client.close_code() == 1001
    client.close()
    site.get("/hook")  # the new worker has started: see above
