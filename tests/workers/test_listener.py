"""The socket on which a worker listens for others, and access to it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bokeh.util.token import get_session_id
from flask import Flask

from flask_bokeh import FlaskBokeh, HandoffError
from flask_bokeh.hijack.connection import HijackedConnection, SocketHijack
from flask_bokeh.hijack.upgrade_request import UpgradeRequest
from flask_bokeh.workers.sender import WorkerChannel, request_transfer

from ..support.servers import Live
from ..support.sockets import RefusedError, Socket, connect
from ..support.waiting import eventually


def runtime_dir_of(config: dict[str, str]) -> Path:
    (folder,) = Path(config["BOKEH_RUNTIME_DIR"]).iterdir()
    return folder


def test_runtime_folder_is_private_and_cleaned_up(live: Live, config: dict[str, str]) -> None:
    """The runtime folder has mode 0700, and the sockets of dead workers are removed."""
    site = live("gunicorn-sync", config=config, clean=False)
    site.get("/mine")
    folder = runtime_dir_of(config)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (first,) = folder.iterdir()
    os.kill(site.stats()["pid"], signal.SIGKILL)
    eventually(lambda: site.get("/mine"), "a new worker")
    (second,) = folder.iterdir()
    assert second != first
    site.stop()
    assert list(folder.iterdir()) == []


def test_worker_with_a_random_key_leaves_no_folder(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path
) -> None:
    app.secret_key = None
    app.config["BOKEH_RUNTIME_DIR"] = str(tmp_path)
    bokeh.init_app(app)
    with app.app_context():
        bokeh.start()
        bokeh.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_client_is_sent_to_another_user(config: dict[str, str]) -> None:
    """A process of another user is refused, even if the folder is open to all users."""
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.bind(sys.argv[1]); s.listen(); print('ready', flush=True); s.accept(); input()"
    )
    other = Path(config["BOKEH_RUNTIME_DIR"])
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
def test_worker_does_not_answer_another_user(live: Live, config: dict[str, str]) -> None:
    """A worker does not answer another user, even if folder and socket are open to all users."""
    site = live("gunicorn-sync", config=config, clean=False)
    token = site.token("/mine")
    (path,) = runtime_dir_of(config).iterdir()
    for one in (path, path.parent, path.parent.parent):
        one.chmod(0o777)
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n'); print(s.recv(10))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(path), f"transfer /sliders {get_session_id(token)}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    hung_up = "ConnectionResetError" in asked.stderr or "BrokenPipeError" in asked.stderr
    assert asked.stdout == "b''\n" or hung_up, asked
    site.until_logged("The process at the other end runs as user 65534")


def test_worker_name_cannot_leave_the_folder(config: dict[str, str]) -> None:
    """No worker name in a token reaches a socket outside the folder."""
    folder = Path(config["BOKEH_RUNTIME_DIR"]) / "inside"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as outside:
        outside.bind(str(folder.parent / "listening"))
        outside.listen()
        for name in ("../listening", "", "x" * 100):
            with pytest.raises(HandoffError, match="lives in another process") as caught:
                request_transfer(folder, name, "/x", "id")
            assert caught.value.status == 410


def test_tls_socket_cannot_be_transferred(live: Live, config: dict[str, str]) -> None:
    """A worker refuses another worker's pulled session under TLS and logs what to do."""
    site = live("gunicorn-sync-tls", config=config, args=["-w", "2"], clean=False)

    def refused() -> bool:
        try:
            connect(site, "/sliders", site.token("/mine")).close()
        except RefusedError as error:
            return error.status == 501
        return False

    eventually(refused, "a socket that reaches the wrong worker")
    site.until_logged("Terminate TLS in a proxy in front, or use one worker")
    assert "Traceback" not in site.log


def test_transfer_succeeds_if_the_owner_closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer succeeds if the owner receives the client and closes the channel at once."""
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
    connection = HijackedConnection(SocketHijack(client))
    upgrade = UpgradeRequest(head=b"GET", address=("", 0), session_id="x")
    WorkerChannel(ours).send(connection, upgrade)
    connection.release_wsgi_server()
    client.close()
    browser.close()


def test_malformed_requests_leak_nothing(live: Live, config: dict[str, str]) -> None:
    """Malformed requests are closed in bounded time and leak no descriptors."""
    site = live("gunicorn-sync", config=config, clean=False)
    site.get("/mine")
    token = site.token("/mine")
    (path,) = runtime_dir_of(config).iterdir()
    before = site.stats()["descriptors"]
    malformed = (b"", b"x", b"x" * 9000, b"transfer /sliders\n", b"close \n", b"\xff\xff\n")
    for data in (*malformed, b"transfer /sliders nobody\n"):
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
            sock.sendall(f"transfer /sliders {session}\n".encode())
            assert sock.recv(10) == b"R"
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                assert sock.recv(10) == b""
    site.until_logged("0 descriptors came with the message")
    eventually(lambda: site.stats()["descriptors"] <= before, "no descriptor more")
    with Socket(site, "/sliders", token) as client:
        assert client.ack["msgtype"] == "ACK"
