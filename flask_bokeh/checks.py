"""Checks of a site: is it set up so that its plots work?

``flask bokeh check`` prints their results. Each check looks at one thing. Run them in an
application context. Those of the server and of the applications start the server, which the caller
stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from flask import current_app

from .applications.registry import Registration
from .bokeh_api import check_serializable
from .errors import FlaskBokehError
from .hijack.adapters import ADAPTERS
from .runtime.descriptors import max_client_fd
from .state import AppState
from .web.markup import render_resources

__all__ = ("CHECKS", "Check", "Result", "run_checks")


@dataclass(frozen=True, slots=True)
class Result:
    """A result of a check, in one line."""

    kind: Literal["ok", "problem", "hint"]
    """A hint is a problem for some sites only, or an explanation."""
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one part of a site."""

    name: str
    run: Callable[[AppState], Iterable[Result]]
    """Yields results as they are found. Problems of the site don't raise."""
    is_essential: bool = False
    """True if the following checks are of no use when this one finds a problem."""


def run_checks(state: AppState) -> Iterator[Result]:
    """Run all checks, and yield their results as they are found."""
    for check in CHECKS:
        has_problem = False
        for result in check.run(state):
            has_problem |= result.kind == "problem"
            yield result
        if has_problem and check.is_essential:
            return


def check_secret_key(state: AppState) -> Iterator[Result]:
    """Check that all workers sign tokens with one key."""
    if state.authorizer.has_shared_key:
        yield Result("ok", "a key signs the session tokens")
    else:
        yield Result(
            "problem", "no key signs the session tokens: set SECRET_KEY, the same in all workers"
        )


def check_trusted_hosts(state: AppState) -> Iterator[Result]:
    """Check that the site does not answer under any host name."""
    if not current_app.config.get("TRUSTED_HOSTS"):
        yield Result("hint", "any Host is answered: set TRUSTED_HOSTS to the names of the site")


def check_wsgi_servers(state: AppState) -> Iterator[Result]:
    """Name the WSGI servers that work, and those that are installed and do not."""
    if state.settings.transport != "same-origin":
        return
    names = ", ".join(adapter.name for adapter in ADAPTERS)
    yield Result("hint", f"plots come on Flask's own port with {names} and 'flask bokeh run'")
    for name in filter(find_spec, _WITHOUT_HIJACKING):
        yield Result("hint", f"{name} does not hand out sockets: set BOKEH_TRANSPORT = 'port'")


# They refuse an upgrade request before the application sees it, or keep its socket.
_WITHOUT_HIJACKING = ("granian", "hypercorn", "a2wsgi")


def check_file_descriptors(state: AppState) -> Iterator[Result]:
    """Compare the limit of file descriptors with the number of sessions."""
    available, wanted = max_client_fd(), state.settings.max_sessions or 0
    if available is not None and available < wanted:
        yield Result(
            "hint",
            f"{available} sockets of plots fit into the process (ulimit -n), and "
            f"BOKEH_MAX_SESSIONS is {wanted}",
        )


def check_server(state: AppState) -> Iterator[Result]:
    """Start the Bokeh server."""
    try:
        server = state.servers.get()
    except FlaskBokehError as error:
        yield Result("problem", str(error))
    else:
        yield Result("ok", f"the Bokeh server runs on {server.url or 'a unix socket'}")


def check_runtime_dir(state: AppState) -> Iterator[Result]:
    """Check the directory in which the workers find each other."""
    if (runtime_dir := state.runtime_dir) is None:
        return
    folder = runtime_dir.find()
    if folder is None or runtime_dir.problem:
        yield Result("problem", str(runtime_dir.problem))
    else:
        yield Result("ok", f"workers meet in {folder} (BOKEH_RUNTIME_DIR)")


def check_applications(state: AppState) -> Iterator[Result]:
    """Create sessions of each application. Guards are not asked."""
    for registration in sorted(state.registrations.applications, key=lambda one: one.path):
        yield from _check_application(state, registration)


def _check_application(state: AppState, registration: Registration) -> Iterator[Result]:
    path, started = registration.path, time.perf_counter()
    try:
        with (
            current_app.test_request_context(),
            state.puller.pull(path, user=None, transport="direct", skip_guards=True) as session,
        ):
            milliseconds = 1000 * (time.perf_counter() - started)
            roots = len(session.document.roots)
            check_serializable(path, session.document)
            # Models that sessions share, or that don't compile, fail in a second session only.
            render_resources(state.settings)
            with state.puller.pull(path, user=None, transport="direct", skip_guards=True):
                pass
    except FlaskBokehError as error:
        yield Result("problem", f"{path}: {error}")
        return
    guards = _count(len(state.registrations.guards.for_path(path)), "guard")
    yield Result("ok", f"{path}: {milliseconds:.0f} ms, {_count(roots, 'root')}; {guards}")
    if not roots:
        yield Result("hint", f"{path} shows nothing until it calls doc.add_root(...)")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number != 1)}"


CHECKS = (
    Check("secret key", check_secret_key),
    Check("trusted hosts", check_trusted_hosts),
    Check("WSGI servers", check_wsgi_servers),
    Check("file descriptors", check_file_descriptors),
    Check("server", check_server, is_essential=True),
    Check("runtime directory", check_runtime_dir),
    Check("applications", check_applications),
)
