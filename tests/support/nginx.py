"""nginx in a process of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .ports import reserved_port
from .programs import find_nginx
from .waiting import TIMEOUT, eventually

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running_nginx(folder: Path, configure: Callable[[str], str]) -> Iterator[str]:
    """Run nginx, and yield the address where it listens.

    :param folder: for its files, among them ``error.log``.
    :param configure: returns the ``server`` blocks that listen on an address.
    """
    nginx = find_nginx()
    assert nginx is not None
    with reserved_port() as port:
        address = f"127.0.0.1:{port}"
        log = folder / "error.log"
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {folder}/pid; error_log {log} info; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{configure(address)} }}"
        )
        flags = ["-p", str(folder), "-c", str(configuration), "-e", str(log)]
        process = subprocess.Popen([nginx, *flags])

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        try:
            eventually(listens, "nginx")
            yield address
        finally:
            process.terminate()
            process.wait(TIMEOUT)
