"""Several workers of a site, and what becomes of plots when workers come and go."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websocket
from bokeh.util.token import get_session_id
from flask import Flask
from playwright.sync_api import TimeoutError as BrowserTimeout

from flask_bokeh import FlaskBokeh, HandoffError
from flask_bokeh.hijack.upgrade_request import Upgrade
from flask_bokeh.workers.sender import WorkerChannel, request_transfer

from .conftest import Live, LiveServer, Tab, eventually
from .sockets import Socket, connect

# gunicorn's access log, with the worker's pid.
LOG_PIDS = ["--access-logformat", "%(p)s %(r)s %(s)s"]


@pytest.fixture
def config() -> Iterator[dict[str, str]]:
    # tmp_path may be too long for the name of a unix socket.
    with tempfile.TemporaryDirectory() as folder:
        yield {"BOKEH_SOCKET_DIR": folder}


def meeting_place(config: dict[str, str]) -> Path:
    (folder,) = Path(config["BOKEH_SOCKET_DIR"]).iterdir()
    return folder


@pytest.mark.parametrize(
    ("kind", "loads"), [("gunicorn-sync", 200), ("gunicorn-gthread", 50), ("gunicorn-gevent", 50)]
)
def test_every_load_reaches_its_session(
    live: Live, config: dict[str, str], kind: str, loads: int
) -> None:
    """With four workers and no sticky balancer, 200 of 200 pulled sessions are the right ones."""
    site = live(kind, config=config, args=["-w", "4", *LOG_PIDS])

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
    assert passed_on > loads / 4, passed_on


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-sync-tls"])
def test_a_page_of_an_application(
    live: Live, config: dict[str, str], tmp_path: Path, kind: str
) -> None:
    """Its application runs once a page, whichever worker the WebSocket comes to, and once more
    only if that of the page has ended, or TLS can't be passed on to it.
    """
    (tmp_path / "made.py").write_text(
        "import os\n"
        "from bokeh.models import Div\n"
        "from flask import Flask\n"
        "from flask_bokeh import FlaskBokeh\n"
        "bokeh = FlaskBokeh()\n"
        "@bokeh.application('/made', page=True)\n"
        "def made(doc):\n"
        "    print('made by', os.getpid(), flush=True)\n"
        "    doc.add_root(Div(text='made'))\n"
        "app = Flask('made')\n"
        f"app.config['BOKEH_SOCKET_DIR'] = {config['BOKEH_SOCKET_DIR']!r}\n"
        "app.secret_key = 'for the tests only'\n"
        "bokeh.init_app(app)\n"
    )
    args = ["--chdir", str(tmp_path), "-w", "2", *LOG_PIDS]
    site = live(kind, "made:app", args=args)

    def workers(path: str) -> list[str]:
        return re.findall(rf"<(\d+)> GET /bokeh/made{path} ", site.log)

    def passed_on(number: int) -> bool:
        with connect(site, "/made", site.token("/bokeh/made")):
            eventually(lambda: len(workers(r"/ws\S*")) == number, "the log")
        return workers("")[-1] != workers(r"/ws\S*")[-1]

    loads = 0
    for _ in range(3):
        loads = next(number for number in range(loads + 1, 100) if passed_on(number))
    runs = loads + 3 * kind.endswith("tls")
    eventually(lambda: site.log.count("made by") == runs, f"{runs} runs of the application")
    token = site.token("/bokeh/made")
    eventually(lambda: site.log.count("made by") == runs + 1, "one more run")
    owner = int(re.findall(r"made by (\d+)", site.log)[-1])
    os.kill(owner, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{owner}").exists(), "the worker to end")
    with connect(site, "/made", token):
        pass
    eventually(lambda: site.log.count("made by") == runs + 2, "the application to run again")


@pytest.fixture
def two(live: Live, config: dict[str, str]) -> Iterator[LiveServer]:
    return live("gunicorn-sync", config=config, args=["-w", "2", *LOG_PIDS], clean=False)


def owner_of(site: LiveServer, page: str) -> int:
    """The worker that has answered a page last."""
    found = rf"<(\d+)> GET {re.escape(page)} "
    return int(eventually(lambda: re.findall(found, site.log), f"{page} in the log")[-1])


def foreign_worker(site: LiveServer, owner: int) -> int:
    return eventually(
        lambda: next((pid for _ in range(20) if (pid := site.stats()["pid"]) != owner), 0),
        "another worker",
    )


def freeze(pid: int) -> None:
    """Stop a process. Until its last thread has stopped it could still accept a connection."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")

    def stopped() -> bool:
        states = [file.read_text().rpartition(") ")[2][0] for file in threads.glob("*/stat")]
        return set(states) == {"T"}

    eventually(stopped, f"process {pid} to stop")


def test_a_worker_is_killed(two: LiveServer, tab: Tab) -> None:
    """A hook's session is rebuilt in a sibling; a pulled one makes its page reload, once."""
    other = tab.page.context.new_page()
    pulled = Tab(other)
    tab.open(f"{two.url}/hook?user=ann")
    tab.move_slider()
    pulled.open(f"{two.url}/mine?user=bob")
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


def test_a_frozen_worker(two: LiveServer) -> None:
    """A worker that does not answer costs its visitors a refusal in bounded time, nobody else."""
    token = two.token("/mine?user=ann")
    owner = owner_of(two, "/mine?user=ann")
    other = foreign_worker(two, owner)
    assert other
    freeze(owner)
    try:
        before = time.monotonic()
        with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
            connect(two, "/sliders", token, query="user=ann")
        assert time.monotonic() - before < 10
    finally:
        os.kill(owner, signal.SIGCONT)

    def works() -> bool:
        with (
            suppress(OSError, websocket.WebSocketException),
            connect(two, "/sliders", token, query="user=ann") as s,
        ):
            return s.titles() == ["made for ann"]
        return False

    eventually(works, "the worker to wake up")
    assert "did not answer within 5 s" in two.log


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"])
def test_a_reload(live: Live, tab: Tab, config: dict[str, str], kind: str) -> None:
    """On HUP sockets end with 1001 and pages come back by themselves, personal as before."""
    site = live(kind, config=config, args=["-w", "2"])
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
        # A worker that is about to go may take the page back first; a move meanwhile is lost.
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


def test_max_requests(live: Live, config: dict[str, str]) -> None:
    """A worker that is recycled tells its sockets, with 1001."""
    site = live("gunicorn-sync", config=config, args=["--max-requests", "20"])
    client = connect(site, "/hooked", site.token("/hook"))
    for _ in range(20):
        site.get("/hook")
    assert client.close_code() == 1001
    client.close()


def test_the_meeting_place_is_private(live: Live, config: dict[str, str]) -> None:
    """Only we may enter the folder, and what a dead worker left is cleared away."""
    site = live("gunicorn-sync", config=config, clean=False)
    site.get("/mine")
    folder = meeting_place(config)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (first,) = folder.iterdir()
    os.kill(site.stats()["pid"], signal.SIGKILL)
    eventually(lambda: site.get("/mine"), "a new worker")
    (second,) = folder.iterdir()
    assert second != first
    site.stop()
    assert list(folder.iterdir()) == []


def test_no_folder_for_a_random_key(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> None:
    """Without a key of the site's there is nobody to meet, and nothing is left in the system."""
    app.secret_key = None
    app.config["BOKEH_SOCKET_DIR"] = str(tmp_path)
    bokeh.init_app(app)
    with app.app_context():
        bokeh.start()
        bokeh.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_served(config: dict[str, str]) -> None:
    """Who runs as another user is refused, even with the folder open to all."""
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.bind(sys.argv[1]); s.listen(); print('ready', flush=True); s.accept(); input()"
    )
    other = Path(config["BOKEH_SOCKET_DIR"])
    other.chmod(0o777)
    path = other / "listening-here"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(HandoffError) as caught:
            request_transfer(other, path.name, "/x", "id")
        assert "PermissionError" in repr(caught.value.__cause__)
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_heard(live: Live, config: dict[str, str]) -> None:
    """Nor does the worker answer to another user, with folder and socket open to all."""
    site = live("gunicorn-sync", config=config, clean=False)
    token = site.token("/mine")
    (path,) = meeting_place(config).iterdir()
    for one in (path, path.parent, path.parent.parent):
        one.chmod(0o777)
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n'); print(s.recv(10))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(path), f"/sliders {get_session_id(token)}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    hung_up = "ConnectionResetError" in asked.stderr or "BrokenPipeError" in asked.stderr
    assert asked.stdout == "b''\n" or hung_up, asked
    site.until_logged("A process of user 65534 is on the other end")


def test_a_name_is_no_path(config: dict[str, str]) -> None:
    """Whatever a token says its worker is, nothing outside the folder is asked."""
    folder = Path(config["BOKEH_SOCKET_DIR"]) / "inside"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as outside:
        outside.bind(str(folder.parent / "listening"))
        outside.listen()
        for name in ("../listening", "", "x" * 100):
            with pytest.raises(HandoffError, match="lives in another process") as caught:
                request_transfer(folder, name, "/x", "id")
            assert caught.value.status == 410


def test_tls_is_not_passed_on(live: Live, config: dict[str, str]) -> None:
    """Under TLS the wrong worker refuses a pulled session, and says what to do."""
    site = live("gunicorn-sync-tls", config=config, args=["-w", "2"], clean=False)

    def refused() -> bool:
        try:
            connect(site, "/sliders", site.token("/mine")).close()
        except websocket.WebSocketBadStatusException as error:
            return error.status_code == 501
        return False

    eventually(refused, "a socket that reaches the wrong worker")
    site.until_logged("End TLS in a proxy in front, or use one worker")
    assert "Traceback" not in site.log


def test_an_owner_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has the client and hangs up at once has not lost it."""
    ours, theirs = socket.socketpair()
    client, browser = socket.socketpair()
    send = socket.send_fds

    def send_and_lose(*arguments: Any) -> int:
        sent = send(*arguments)
        _, descriptors, _, _ = socket.recv_fds(theirs, 65536, 1)
        os.close(descriptors[0])
        theirs.close()
        return sent

    monkeypatch.setattr(socket, "send_fds", send_and_lose)
    WorkerChannel(ours).send(client, Upgrade(head=b"GET", address=("", 0), session_id="x"))
    client.close()
    browser.close()


def test_hostile_knocks(live: Live, config: dict[str, str]) -> None:
    """Half a message, too long a message, no descriptor: closed in bounded time, no leak."""
    site = live("gunicorn-sync", config=config, clean=False)
    site.get("/mine")
    token = site.token("/mine")
    (path,) = meeting_place(config).iterdir()
    before = site.stats()["descriptors"]
    for data in (b"", b"x", b"x" * 9000, b"/sliders\n", b"/sliders nobody\n", b"\xff\xff\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            sock.sendall(data)
            if data:
                with suppress(ConnectionError):
                    assert sock.recv(10) in (b"", b"G")
    session = get_session_id(token)
    half = struct.pack("!I", 100) + b"x"
    for data in (b"", half, struct.pack("!I", 2**31) + b"x", struct.pack("!I", 2) + b"{}"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(f"/sliders {session}\n".encode())
            assert sock.recv(10) == b"R"
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                assert sock.recv(10) == b""
    site.until_logged("0 descriptors came with the message")
    eventually(lambda: site.stats()["descriptors"] <= before, "no descriptor more")
    with Socket(site, "/sliders", token) as client:
        assert client.ack["msgtype"] == "ACK"
