"""What has a server in this process: stopped when Python exits, and good for use after a fork."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ("logged", "register", "registered", "stop_all_at_exit")

logger = logging.getLogger("flask_bokeh")


class Stoppable(Protocol):
    """What may be looked after."""

    def stop(self) -> None:
        """Stop the server of this process, if it runs."""

    def forked(self) -> None:
        """Called in the child, before anything else."""


_all: weakref.WeakSet[Stoppable] = weakref.WeakSet()
_registered = False


def register(one: Stoppable) -> None:
    """From now on, for as long as it is in use."""
    _all.add(one)


def registered() -> list[Stoppable]:
    """Everything that is."""
    return list(_all)


def stop_all_at_exit() -> None:
    """See to it, once in a process. To be called when the first server has started.

    ``atexit`` is too late: by then ``concurrent.futures`` refuses work, and the hooks of
    Bokeh 3.10, which run in executors, fail with "cannot schedule new futures after
    shutdown". ``concurrent.futures`` itself uses this private hook of ``threading`` to get in
    before its threads are joined; functions run in reverse order, so ours comes first.
    Checked on CPython 3.11 to 3.13; ``tests/test_lifecycle.py`` fails when it moves.
    """
    global _registered
    if not _registered:
        _registered = True
        threading._register_atexit(_stop_all)  # type: ignore[attr-defined]


@contextmanager
def logged(step: str) -> Iterator[None]:
    """Log what a step of an end raises, and go on: the other steps have to be taken, too."""
    try:
        yield
    except Exception:
        logger.exception("%s failed.", step)


def _stop_all() -> None:
    for one in registered():
        with logged("Stopping a Bokeh server as Python exits"):
            one.stop()


def _forked() -> None:
    for one in registered():
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
