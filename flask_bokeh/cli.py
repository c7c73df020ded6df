"""The commands ``flask bokeh check``, ``run`` and ``nginx``."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from tornado.ioloop import IOLoop

from .checks import run_checks
from .hijack.tornado_server import TornadoWSGIServer
from .log_redaction import LineFormatter
from .state import AppState

__all__ = ("commands",)

commands = AppGroup("bokeh", help="Live Bokeh plots.")

_DEFAULT_MAX_BODY_SIZE = 16 * 1024 * 1024
_LABELS = {"ok": "ok     ", "problem": "PROBLEM", "hint": "       "}


@commands.command()
def check() -> None:
    """Start the server, create sessions of each application, and print all problems."""
    state: AppState = current_app.extensions["bokeh"]
    problems = 0
    try:
        for result in run_checks(state):
            problems += result.kind == "problem"
            click.echo(f"{_LABELS[result.kind]} {result.text}")
    finally:
        state.stop()
    if problems:
        raise SystemExit(1)


@commands.command()
@click.option("--host", "-h", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", "-p", default=5000, show_default=True, help="Port; 0 for a free one.")
@click.option("--threads", default=8, show_default=True, help="Number of request threads.")
@click.option("--cert", type=click.Path(exists=True), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(exists=True), help="Key of the TLS certificate.")
def run(host: str, port: int, threads: int, cert: str | None, key: str | None) -> None:
    """Serve Flask and Bokeh on one Tornado server and one port."""
    tls = None
    if cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert, key)
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("[%(asctime)s] %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler])
    for name in ("flask_bokeh", "tornado.access"):
        logging.getLogger(name).setLevel(logging.INFO)
    application: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    server = TornadoWSGIServer(
        application, threads=threads, max_body_size=_max_body_size(), tls=tls
    )
    asyncio.run(_serve(application, server, host, port, threads))


async def _serve(
    application: Flask, server: TornadoWSGIServer, host: str, port: int, threads: int
) -> None:
    state: AppState = application.extensions["bokeh"]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A library must not handle signals, but here this is the program.
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt
            break
    try:
        state.servers.start(IOLoop.current()).limit_waiting_pages(threads // 2)
        try:
            port = server.listen(port, host)
        except OSError as error:
            raise click.ClickException(f"Can't listen on {host}:{port}: {error}") from error
        click.echo(f"Listening at: {'https' if server.tls else 'http'}://{host}:{port}")
        await stop.wait()
    finally:
        await state.stop_async()
        await server.stop(state.settings.stop_timeout)


@commands.command()
@click.option("--upstream", default="127.0.0.1:8000", show_default=True, help="Flask's address.")
@click.option("--server-name", default="_", show_default=True, help="Host name of the site.")
@click.option("--listen", default="80", show_default=True, help="Address or port of nginx.")
@click.option("--path", default="/", show_default=True, help="URL of the site, such as /shop.")
@click.option("--cert", type=click.Path(), help="TLS certificate.")
@click.option("--key", type=click.Path(), help="Key of the TLS certificate.")
def nginx(
    upstream: str, server_name: str, listen: str, path: str, cert: str | None, key: str | None
) -> None:
    """Print a configuration for nginx."""
    prefix = "/" + path.strip("/")
    template = current_app.jinja_env.get_template("flask_bokeh/nginx.conf")
    click.echo(
        template.render(
            max_body=_max_body_size(),
            upstream=upstream,
            server_name=server_name,
            listen=listen,
            prefix="" if prefix == "/" else prefix,
            cert=cert and Path(cert).resolve(),
            key=key and Path(key).resolve(),
        )
    )


def _max_body_size() -> int:
    """Return the maximum size in bytes of a request body, also for a site that sets none."""
    return int(current_app.config["MAX_CONTENT_LENGTH"] or _DEFAULT_MAX_BODY_SIZE)
