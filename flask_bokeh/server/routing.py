"""Find the process that has the session of a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import HandoffError
from ..security.tokens import Token
from ..workers.sender import WorkerChannel, request_transfer
from .manager import ServerManager

__all__ = ("SessionRouter",)


class SessionRouter:
    """Finds sessions in this worker and in the others of the machine. Thread-safe.

    :param find_runtime_dir: finds the folder that the site's workers share.
    """

    def __init__(self, servers: ServerManager, find_runtime_dir: Callable[[], Path | None]) -> None:
        self._servers = servers
        self._find_runtime_dir = find_runtime_dir

    def has_session(self, token: Token) -> bool:
        """Return whether the session of a token exists in this process."""
        server, visit = self._servers.running(), token.visit
        return server is not None and server.has_session(visit.path, visit.session_id)

    def find_owner(self, token: Token) -> WorkerChannel | None:
        """Return a channel to the worker that has the session; None if this process serves it.

        :raises HandoffError: for a pulled session: 410 if it has ended, 503 if its worker does not
            answer.
        """
        if token.worker_id is None:
            return None
        server, visit = self._servers.running(), token.visit
        try:
            if server is None or server.worker_id != token.worker_id:
                folder = self._find_runtime_dir()
                return request_transfer(folder, token.worker_id, visit.path, visit.session_id)
            if not self.has_session(token):
                raise HandoffError("The pulled session has ended.", 410)
        except HandoffError:
            if token.pulled:  # all other sessions are created again
                raise
        return None
