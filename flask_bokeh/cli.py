"""``flask bokeh``: check a site, run it, and print a configuration for nginx."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from importlib.util import find_spec
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from tornado.ioloop import IOLoop

from .bokeh_api import check_serializable
from .errors import FlaskBokehError
from .hijack.adapters import ADAPTERS
from .hijack.tornado_server import TornadoWSGIServer
from .log_text import LineFormatter
from .runtime.descriptors import max_client_fd
from .state import AppState
from .web.markup import render_resources

__all__ = ("commands",)

commands = AppGroup("bokeh", help="Live Bokeh plots.")

# Servers that refuse an upgrade request before the application sees it, or keep its socket.
_CLOSED_SERVERS = ("granian", "hypercorn", "a2wsgi")


def _state() -> AppState:
    state: AppState = current_app.extensions["bokeh"]
    return state


def _max_body() -> int:
    """Bytes of a request's body, where the site sets no limit, too."""
    return int(current_app.config["MAX_CONTENT_LENGTH"] or 16 * 1024 * 1024)


@commands.command()
def check() -> None:
    """Start the server, make a session of each application, and say what is wrong."""
    state = _state()
    settings = state.settings
    wrong = 0

    def tell(good: bool, text: str) -> None:
        nonlocal wrong
        wrong += not good
        click.echo(f"{'ok     ' if good else 'PROBLEM'} {text}")

    keyed = state.authorizer.has_shared_key
    tell(
        keyed,
        "a key signs the session tokens"
        if keyed
        else "no key signs the session tokens: set SECRET_KEY, the same in all workers",
    )
    if not current_app.config.get("TRUSTED_HOSTS"):
        click.echo("        any Host is answered: set TRUSTED_HOSTS to the names of the site")
    if settings.transport == "same-origin":
        names = ", ".join(adapter.name for adapter in ADAPTERS)
        click.echo(f"        plots come on Flask's own port with {names} and 'flask bokeh run'")
        for name in filter(find_spec, _CLOSED_SERVERS):
            click.echo(f"        {name} does not hand out sockets: set BOKEH_TRANSPORT = 'port'")
    highest, wanted = max_client_fd(), settings.max_sessions or 0
    if highest is not None and highest < wanted:
        click.echo(
            f"        {highest} sockets of plots fit into the process (ulimit -n), and "
            f"BOKEH_MAX_SESSIONS is {wanted}"
        )
    try:
        server = state.servers.get()
    except FlaskBokehError as error:
        tell(False, str(error))
        raise SystemExit(1) from error
    tell(True, f"the Bokeh server runs on {server.url or 'a unix socket'}")
    if (meeting := state.runtime_dir) is not None:
        folder = meeting.find()
        good = f"workers meet in {folder} (BOKEH_RUNTIME_DIR)"
        tell(folder is not None and not meeting.problem, meeting.problem or good)
    for registration in sorted(state.registrations.applications, key=lambda one: one.path):
        path, begun = registration.path, time.perf_counter()
        try:
            with (
                current_app.test_request_context(),
                state.puller.pull(path, user=None, transport="direct", skip_guards=True) as session,
            ):
                took = time.perf_counter() - begun
                roots = len(session.document.roots)
                check_serializable(path, session.document)
                # Models that every session shares or that don't compile show only in the second.
                render_resources(settings)
                with state.puller.pull(path, user=None, transport="direct", skip_guards=True):
                    pass
        except FlaskBokehError as error:
            tell(False, f"{path}: {error}")
        else:
            guards = _count(len(state.registrations.guards.for_path(path)), "guard")
            tell(True, f"{path}: {1000 * took:.0f} ms, {_count(roots, 'root')}; {guards}")
            if not roots:
                click.echo(f"        {path} shows nothing until it calls doc.add_root(...)")
    state.stop()
    if wrong:
        raise SystemExit(1)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number != 1)}"


@commands.command()
@click.option("--host", "-h", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", "-p", default=5000, show_default=True, help="Port; 0 for a free one.")
@click.option("--threads", default=8, show_default=True, help="Requests served at once.")
@click.option("--cert", type=click.Path(exists=True), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(exists=True), help="Its key.")
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
        application,
        threads=threads,
        max_body_size=_max_body(),
        tls=tls,
    )
    asyncio.run(_serve(application, server, host, port, threads))


async def _serve(
    application: Flask, server: TornadoWSGIServer, host: str, port: int, threads: int
) -> None:
    state: AppState = application.extensions["bokeh"]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # This is the program itself, not the library: nobody else handles these here.
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
@click.option("--server-name", default="_", show_default=True, help="The site's host name.")
@click.option("--listen", default="80", show_default=True, help="Address or port of nginx.")
@click.option("--path", default="/", show_default=True, help="Where the site is, as /shop.")
@click.option("--cert", type=click.Path(), help="TLS certificate.")
@click.option("--key", type=click.Path(), help="Its key.")
def nginx(
    upstream: str, server_name: str, listen: str, path: str, cert: str | None, key: str | None
) -> None:
    """Print a configuration for nginx."""
    prefix = "/" + path.strip("/")
    template = current_app.jinja_env.get_template("flask_bokeh/nginx.conf")
    click.echo(
        template.render(
            max_body=_max_body(),
            upstream=upstream,
            server_name=server_name,
            listen=listen,
            prefix="" if prefix == "/" else prefix,
            cert=cert and Path(cert).resolve(),
            key=key and Path(key).resolve(),
        )
    )
