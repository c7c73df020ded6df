"""Start servers whose own command does not print the port that they got.

``python -m tests.live_apps.serve cheroot module:create_app()``
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask


def load(name: str) -> Flask:
    module, _, factory = name.partition(":")
    app: Flask = getattr(importlib.import_module(module), factory.removesuffix("()"))()
    return app


def cheroot(name: str) -> None:
    """Run cheroot, with TLS if more arguments name a certificate and its key."""
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", 0), load(name), numthreads=8)
    scheme = "http"
    if files := sys.argv[3:]:
        scheme, server.ssl_adapter = "https", BuiltinSSLAdapter(*files)
    server.prepare()
    print(f"Listening at: {scheme}://127.0.0.1:{server.bind_addr[1]}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        server.serve()
    except KeyboardInterrupt:
        server.stop()


def uwsgi(name: str) -> None:
    """Run one process of uWSGI; more arguments are options of uWSGI."""
    import pyuwsgi

    module, _, factory = name.partition(":")
    options = ["--master", "--need-app", "--die-on-term", "--http-socket", "127.0.0.1:0"]
    pyuwsgi.run([*options, "--wsgi", f"{module}:{factory}", *sys.argv[3:]])


SERVERS: dict[str, Callable[[str], Any]] = {"cheroot": cheroot, "uwsgi": uwsgi}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](sys.argv[2])
