"""End Bokeh's sessions without stalling everybody else.

Bokeh collects garbage once or twice for each session that ends, and ends all that are due without
giving the loop back in between: 600 sessions would block a process with numpy and pandas for 45 s.
Here they end one by one, while the collector has nearly nothing to look at.

Checked on Bokeh 3.9.2 and 3.10.2; ``tests/test_bokeh_compat.py`` fails when something private
moves. Everything here runs on the thread of the server's IOLoop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bokeh.model import Model
from bokeh.server.contexts import ApplicationContext
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from tornado.ioloop import PeriodicCallback

from ...runtime.gevent import unpatched

__all__ = ("NEVER", "SessionCleaner", "check_interval", "gc_frozen")

NEVER = 1000 * 60 * 60 * 24 * 365
"""Milliseconds until Bokeh's own job looks for unused sessions, whose place ours takes."""

_MAX_PAUSE = 0.2
_COLLECTING = 1 / 100
"""Share of the time that may be spent on collecting what ended sessions have left."""
_QUIET = 2.0
"""Seconds in which no session has ended, before that."""
_MAX_WAIT = 30.0
"""Seconds after which that is not put off any more while sessions end all the time."""
_FROZEN_BY_PYTHON = 10_000
"""More objects than Python 3.12 freezes itself, whenever it collects: the few hundred immortal
ones. A site that freezes has far more."""


class SessionCleaner:
    """Ends the sessions of a server that nobody is connected to and whose time is over."""

    def __init__(self, tornado: BokehTornado, lifetime: float, interval: float) -> None:
        """
        :param lifetime: seconds for which a session waits for a browser.
        :param interval: seconds between two looks.
        """
        self._tornado = tornado
        self._lifetime = lifetime
        self._job = PeriodicCallback(self._clean_up, 1000 * interval)
        self._discarding: set[ServerSession] = set()
        self._last_end = 0.0
        self._garbage_since: float | None = None
        # Python would look at everything soon after each thaw: it thinks that there is little,
        # because Bokeh's collections saw little. So everything is thawed when we collect only.
        self._frozen = ExitStack()
        self._stopped = False
        self._collect_after = 0.0

    def start(self) -> None:
        """Look for such sessions from now on."""
        self._job.start()

    def stop(self) -> None:
        """Look no more, and thaw everything. Idempotent."""
        self._job.stop()
        self._stopped = True
        self._frozen.close()

    async def discard_expired(self, *, in_turns: bool = True) -> None:
        """Discard those sessions now.

        :param in_turns: give others as much time after each session as its end took.
        """
        due = [
            (context, session)
            for context in self._tornado.applications.values()
            for session in context.sessions
            if self._is_due(session)
        ]
        if not due:
            return
        with _freezer.frozen():
            for context, session in due:
                # It may have ended meanwhile, or be about to: others come here, too.
                if session in self._discarding or not self._is_due(session):
                    continue
                begun = time.perf_counter()
                await self._discard(context, session)
                if in_turns:
                    await asyncio.sleep(min(time.perf_counter() - begun, _MAX_PAUSE))

    def _is_due(self, session: ServerSession) -> bool:
        return not (session.destroyed or session.expiration_blocked) and self._is_over(session)

    def _is_over(self, session: ServerSession) -> bool:
        unused = session.milliseconds_since_last_unsubscribe / 1000
        over = unused > self._lifetime or session.expiration_requested
        return over and session.connection_count == 0

    async def _discard(self, context: ApplicationContext, session: ServerSession) -> None:
        models = list(session.document.models)
        self._discarding.add(session)
        try:
            _freezer.freeze_new()
            await context._discard_session(session, self._is_over)
        finally:
            self._discarding.discard(session)
        if session.destroyed:
            self._last_end = time.monotonic()
            if self._garbage_since is None and not self._stopped:
                self._garbage_since = self._last_end
                self._frozen.enter_context(_freezer.frozen())
            for model in models:
                _release(model)

    async def _clean_up(self) -> None:
        now = time.monotonic()
        await self.discard_expired()
        if self._garbage_since is None or now < self._collect_after:
            return
        # The fewer sessions live, the less there is to look at: not amid many that end.
        if now - self._last_end > _QUIET or now - self._garbage_since > _MAX_WAIT:
            self._collect()

    def _collect(self) -> None:
        """Free what ended sessions have left: little by now, but what an application's own cycles
        hold may be large.
        """
        self._garbage_since = None
        self._frozen.close()
        begun = time.monotonic()
        gc.collect()
        now = time.monotonic()
        self._collect_after = now + (now - begun) / _COLLECTING


def _release(model: Model) -> None:
    """Empty what Bokeh leaves in a model of a destroyed document, and what ties it to others in
    cycles: then most of a session is freed at once, without the collector.
    """
    for name in ("_callbacks", "_event_callbacks", "_unstable_default_values"):
        getattr(model, name).clear()


class _Freezer:
    """Makes full collections cheap: what is frozen is not looked at. For any thread."""

    def __init__(self) -> None:
        self._lock = unpatched("_thread", "allocate_lock")()
        self._holders = 0
        self._ours = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all objects for the block.

        A site that has frozen its objects itself, as for ``gunicorn --preload``, is left alone:
        there is no way to thaw only the others again.
        """
        with self._lock:
            if self._holders == 0:
                self._ours = gc.get_freeze_count() < _FROZEN_BY_PYTHON
            self._holders += 1
        try:
            self.freeze_new()
            yield
        finally:
            with self._lock:
                self._holders = max(0, self._holders - 1)  # 0 in a child process
                if self._holders == 0 and self._ours:
                    gc.unfreeze()

    def freeze_new(self) -> None:
        """Freeze what has come since. In the block."""
        if self._ours:
            gc.freeze()

    def forked(self) -> None:
        """In a child process, which has no such block."""
        if self._holders and self._ours:
            gc.unfreeze()
        self._lock = unpatched("_thread", "allocate_lock")()
        self._holders = 0


def check_interval(lifetime: float, option: float | None) -> float:
    """Return the seconds between two looks: an unused session must not outlive its time by much.

    :param option: what the site says, in milliseconds, as Bokeh's own job would read it.
    :raises ValueError: if that is not positive.
    """
    if option is None:
        return max(0.25, min(17.0, lifetime / 10))
    if option <= 0:
        raise ValueError(f"check_unused_sessions_milliseconds is {option!r}; it must be > 0")
    return option / 1000


_freezer = _Freezer()
gc_frozen = _freezer.frozen
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_freezer.forked)
