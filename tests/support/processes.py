"""Servers in processes of their own, and the resources of a process; for benchmarks, too."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from . import ROOT
from .waiting import TIMEOUT

_ADDRESS = re.compile(
    r"(?:Running on|Listening at:|Serving on) (?:https?://(?=127|localhost)|unix://)(\S+[\w])"
    r"|bound to TCP address (127\.0\.0\.1:\d+)"
)
_ENVIRON = {
    "PYTHONPATH": str(ROOT),
    # Hundreds of processes compile the package only once, even where that is turned off.
    "PYTHONDONTWRITEBYTECODE": "",
}


class ServerProcess:
    """A server in a process of its own, on a port of its own choice.

    :param arguments: of the Python interpreter.
    :param environ: more variables for it.
    :raises RuntimeError: if it does not log its address.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=ROOT,
            env={**os.environ, **_ENVIRON, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.address = ""
        self.lines: list[str] = []
        """The lines of its log, without colours."""
        self._found = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._found.wait(TIMEOUT) or not self.address:
            self.stop()
            raise RuntimeError(f"{arguments} did not start:\n{self.log}")
        self.url = f"http://{self.address}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for coloured in self.process.stdout:
            line = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
            self.lines.append(line)
            if not self.address and (match := _ADDRESS.search(line)):
                self.address = match[1] or match[2]
                self._found.set()
        self._found.set()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def open_connection(self, timeout: float = TIMEOUT) -> socket.socket:
        """Open a TCP connection to the server, for requests that HTTP clients do not make."""
        host, port = self.address.split(":")
        return socket.create_connection((host, int(port)), timeout)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = TIMEOUT) -> int:
        """Send a signal, wait, kill the remaining processes, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(self.log[-4000:])
        self.stop()


@dataclass(frozen=True, slots=True)
class Usage:
    """The system's resources that a process uses (Linux)."""

    descriptors: int
    threads: int
    memory: float
    """Resident memory, in MB."""
    peak: float
    """Peak of the resident memory, in MB."""
    cpu: float
    """CPU seconds, user and system."""

    @classmethod
    def of(cls, pid: int) -> Usage:
        folder = Path(f"/proc/{pid}")
        status = dict(
            line.split(":", 1) for line in (folder / "status").read_text().splitlines() if line
        )
        times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        return cls(
            descriptors=len(os.listdir(folder / "fd")),
            threads=int(status["Threads"]),
            memory=int(status["VmRSS"].split()[0]) / 1024,
            peak=int(status["VmHWM"].split()[0]) / 1024,
            cpu=sum(map(int, times)) / os.sysconf("SC_CLK_TCK"),
        )
