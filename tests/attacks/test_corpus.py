"""gunicorn's own corpus of valid and invalid requests, sent raw to a live site."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from ..support.servers import Live, LiveServer

ECHO = "tests.live_apps.echo:{}()"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Requests from gunicorn's source distribution on PyPI."""
    folder = tmp_path_factory.mktemp("gunicorn")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    done = subprocess.run(
        [*command, f"--dest={folder}", f"gunicorn=={version('gunicorn')}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode != 0:
        pytest.skip(f"gunicorn's sources could not be fetched: {done.stderr.strip()[-200:]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        found = {
            "/".join(Path(member.name).parts[-2:]): opened.extractfile(member).read()
            for member in opened.getmembers()
            if re.search(r"tests/requests/.*\.http$", member.name)
        }
    return {name: unescape(text) for name, text in found.items()}


def unescape(text: bytes) -> bytes:
    """Decode the escapes in a corpus file and drop its literal line ends."""
    text = text.replace(b"\n", b"").replace(b"\r", b"")
    for escape, byte in ((b"\\r", b"\r"), (b"\\n", b"\n"), (b"\\0", b"\0")):
        text = text.replace(escape, byte)
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), text)


def ask(site: LiveServer, data: bytes) -> list[bytes]:
    """Send bytes and return the lines of the response without Date; 'hang' on a timeout.

    A server that responds before it has read everything resets the connection, which may destroy
    the response in transit; the request is then retried.
    """
    for _ in range(20):
        with suppress(ConnectionError):
            return re.sub(rb"\r\nDate: [^\r]*", b"", _ask(site, data)).split(b"\r\n")
    return [b"reset"]


def _ask(site: LiveServer, data: bytes) -> bytes:
    answer = b""
    with site.open_connection(timeout=8) as sock:
        try:
            sock.sendall(data)
            with suppress(OSError):  # the server has already closed
                sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                answer += chunk
        except TimeoutError:
            return b"hang\r\n" + answer
    return answer


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gthread"])
def test_extension_changes_no_response_to_gunicorns_corpus(
    live: Live, corpus: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request gets the same response from a site with the extension and one without it."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # fixes the order of methods in the Allow header
    assert len(corpus) > 50
    without = live(kind, ECHO.format("create_app"), clean=False)
    extended = live(kind, ECHO.format("create_live_app"), clean=False)

    def differs(item: tuple[str, bytes]) -> str | None:
        name, data = item
        expected, actual = ask(without, data), ask(extended, data)
        return (
            None if expected == actual and b"hang" not in actual else f"{name}: {expected} {actual}"
        )

    with ThreadPoolExecutor(8) as pool:
        different = [found for found in pool.map(differs, corpus.items()) if found]
    assert different == []
    for site in (without, extended):
        site.stop()  # completes the log
    assert extended.log.count("Traceback") == without.log.count("Traceback")
