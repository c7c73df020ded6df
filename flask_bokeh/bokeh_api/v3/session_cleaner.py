"""Discard Bokeh's expired sessions without blocking the loop.

Bokeh collects garbage once or twice for each session that it discards, and discards all that are
due in one go: 600 sessions would block a process with numpy and pandas for 45 s. Here they are
discarded one by one, while almost all objects are hidden from the collector (``gc.freeze``).

Private attributes of Bokeh are used here; checked on Bokeh 3.9.2 and 3.10.2. Everything here runs
on the loop's thread.
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
"""Milliseconds until Bokeh's own job looks for expired sessions: ours replaces it."""

_MAX_PAUSE = 0.2
"""Seconds to pause at most between two sessions."""
_MAX_COLLECTING = 1 / 100
"""Maximum share of the time for our own collections."""
_QUIET = 2.0
"""Seconds without a discarded session before a collection of ours."""
_MAX_DELAY = 30.0
"""Seconds for which a collection is delayed at most, if sessions are discarded all the time."""
_FROZEN_BY_PYTHON = 10_000
"""More than the few hundred immortal objects that Python 3.12 freezes whenever it collects. A site
that freezes its objects has far more."""


class SessionCleaner:
    """Discards the sessions of a server that have no WebSocket and are expired.

    :param lifetime: seconds for which a session waits for a browser.
    :param interval: seconds between two checks.
    """

    def __init__(self, tornado: BokehTornado, lifetime: float, interval: float) -> None:
        self._tornado = tornado
        self._lifetime = lifetime
        self._job = PeriodicCallback(self._clean_up, 1000 * interval)
        self._discarding: set[ServerSession] = set()
        self._last_discard = 0.0
        self._garbage_since: float | None = None
        # Bokeh's collections have seen few objects, so Python assumes that there are few, and would
        # soon run a full collection after each thaw. So objects are thawed only when we collect.
        self._frozen = ExitStack()
        self._stopped = False
        self._collect_after = 0.0

    def start(self) -> None:
        """Start to check at intervals."""
        self._job.start()

    def stop(self) -> None:
        """Stop checking, and thaw all objects. Idempotent."""
        self._job.stop()
        self._stopped = True
        self._frozen.close()

    async def discard_expired(self, *, with_pauses: bool = True) -> None:
        """Discard the expired sessions now.

        :param with_pauses: pause after each session for as long as it took.
        """
        expired = [
            (context, session)
            for context in self._tornado.applications.values()
            for session in context.sessions
            if self._is_due(session)
        ]
        if not expired:
            return
        with _freezer.frozen():
            for context, session in expired:
                # Another call may have discarded it meanwhile, or be about to.
                if session in self._discarding or not self._is_due(session):
                    continue
                begun = time.perf_counter()
                await self._discard(context, session)
                if with_pauses:
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
            self._last_discard = time.monotonic()
            if self._garbage_since is None and not self._stopped:
                self._garbage_since = self._last_discard
                self._frozen.enter_context(_freezer.frozen())
            for model in models:
                _release(model)

    async def _clean_up(self) -> None:
        now = time.monotonic()
        await self.discard_expired()
        if self._garbage_since is None or now < self._collect_after:
            return
        # The fewer sessions exist, the faster is a collection: not while many are discarded.
        if now - self._last_discard > _QUIET or now - self._garbage_since > _MAX_DELAY:
            self._collect()

    def _collect(self) -> None:
        """Free the objects that discarded sessions have left in cycles of the application."""
        self._garbage_since = None
        self._frozen.close()
        begun = time.monotonic()
        gc.collect()
        now = time.monotonic()
        self._collect_after = now + (now - begun) / _MAX_COLLECTING


def _release(model: Model) -> None:
    """Clear the attributes of a model that keep it in cycles when its document is destroyed.

    Then most of a session is freed at once, without a collection.
    """
    for name in ("_callbacks", "_event_callbacks", "_unstable_default_values"):
        getattr(model, name).clear()


class _Freezer:
    """Hides objects from the collector, so that full collections are fast. Thread-safe."""

    def __init__(self) -> None:
        self._lock = unpatched("_thread", "allocate_lock")()
        self._holders = 0
        self._ours = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all objects in the block.

        Does nothing if the site has frozen its objects itself, as for ``gunicorn --preload``:
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
        """Freeze the objects that were created since. In the block."""
        if self._ours:
            gc.freeze()

    def forked(self) -> None:
        """Thaw all objects, in a child process, which is in no block."""
        if self._holders and self._ours:
            gc.unfreeze()
        self._lock = unpatched("_thread", "allocate_lock")()
        self._holders = 0


def check_interval(lifetime: float, option: float | None) -> float:
    """Return the seconds between two checks: a tenth of the lifetime, within bounds.

    :param lifetime: seconds for which a session waits for a browser.
    :param option: the interval that the site has set, in milliseconds, if any.
    :raises ValueError: if the option is not positive.
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
