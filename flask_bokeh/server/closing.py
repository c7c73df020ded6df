"""Close the sessions of a user, in this worker and in all others of the machine."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import SessionsNotEndedError, WaitTimeoutError
from ..security.authorizer import Authorizer
from ..settings import Settings
from ..workers.runtime_dir import RuntimeDir
from ..workers.sender import broadcast_close
from .manager import ServerManager

__all__ = ("SessionCloser",)

logger = logging.getLogger("flask_bokeh")


class SessionCloser:
    """Closes the sessions of a user in all workers. For any thread but the server's loop."""

    def __init__(
        self,
        settings: Settings,
        authorizer: Authorizer,
        servers: ServerManager,
        runtime_dir: Callable[[], RuntimeDir | None],
    ) -> None:
        """:param runtime_dir: returns None if workers can't find each other."""
        self._settings = settings
        self._authorizer = authorizer
        self._servers = servers
        self._runtime_dir = runtime_dir

    def close(self, user: str, revoked_at: float | None = None) -> int:
        """Close the sessions of a user in all workers; return their number.

        :param revoked_at: the result of :meth:`Authorizer.revoke_tokens`, which is called if it is
            not given. Sessions of pages that were made later are left alone.
        :raises LoopThreadError: on the server's own loop.
        :raises WaitTimeoutError: if this process's loop is blocked; they end when it is free.
        :raises SessionsNotEndedError: if some may live on, here or in another worker.
        """
        server = self._servers.running()
        if server is not None:
            server.check_may_wait("closing a user's sessions")
        if revoked_at is None:
            revoked_at = self._authorizer.revoke_tokens(user)
        digests = self._authorizer.subject_digests(user)
        closing = None if server is None else server.close_sessions(digests, revoked_at)
        own_id = None if server is None else server.worker_id
        count, failed = self._close_elsewhere(own_id, digests, revoked_at)
        if closing is not None:
            count += closing.count
            try:
                closing.wait(self._settings.stop_timeout)
            except WaitTimeoutError:
                raise
            except Exception as error:
                raise SessionsNotEndedError([*failed, f"in this process: {error!r}"]) from error
        if failed:
            raise SessionsNotEndedError(failed)
        return count

    def _close_elsewhere(
        self, own_id: str | None, digests: tuple[str, ...], revoked_at: float
    ) -> tuple[int, list[str]]:
        """Return the number of closed sessions, and the problems with other workers."""
        if (runtime_dir := self._runtime_dir()) is None:
            return 0, []
        if (folder := runtime_dir.find()) is None:
            logger.warning(
                "A user's sessions were closed in this worker only. %s", runtime_dir.problem or ""
            )
            return 0, []
        return broadcast_close(folder, own_id, digests, revoked_at)
