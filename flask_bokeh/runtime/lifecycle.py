"""Registry of this process's servers: stops them at exit, and resets them after fork()."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ("Stoppable", "logged", "register", "registered", "stop_all_at_exit")

logger = logging.getLogger("flask_bokeh")


class Stoppable(Protocol):
    """An object that may have a server in this process."""

    def stop(self) -> None:
        """Stop the server of this process, if it runs. Idempotent."""

    def forked(self) -> None:
        """Reset everything that belongs to the parent; called in the child before other code."""


_all: weakref.WeakSet[Stoppable] = weakref.WeakSet()
_stops_at_exit = False


def register(stoppable: Stoppable) -> None:
    """Add an object to the registry, which keeps a weak reference to it."""
    _all.add(stoppable)


def registered() -> list[Stoppable]:
    """Return all registered objects that are still in use."""
    return list(_all)


def stop_all_at_exit() -> None:
    """Stop all registered objects when Python exits. Call it when a server has started.

    ``atexit`` is too late: by then ``concurrent.futures`` refuses work, and the hooks of
    Bokeh 3.10, which run in executors, fail with "cannot schedule new futures after
    shutdown". ``concurrent.futures`` itself uses this private hook of ``threading``, to run
    before its threads are joined; functions run in reverse order, so ours run first.
    Checked on CPython 3.11 to 3.13; ``tests/test_lifecycle.py`` fails when it moves.
    """
    global _stops_at_exit
    if not _stops_at_exit:
        _stops_at_exit = True
        threading._register_atexit(_stop_all)  # type: ignore[attr-defined]


@contextmanager
def logged(step: str) -> Iterator[None]:
    """Log an exception of the block, and suppress it, so that the steps after it are taken.

    :param step: the beginning of the log line, such as "Closing the port".
    """
    try:
        yield
    except Exception:
        logger.exception("%s failed.", step)


def _stop_all() -> None:
    for stoppable in registered():
        with logged("Stopping a Bokeh server as Python exits"):
            stoppable.stop()


def _forked() -> None:
    for stoppable in registered():
        stoppable.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
