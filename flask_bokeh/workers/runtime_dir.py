"""The private folder in which the workers of a site meet.

Its names are derived from the key of the site's tokens, so all workers find the same one, and
nobody else can tell a name that has not been in use. Another account that has seen one can take it
while it is not there, after a restart of the machine for instance: then all workers use the next.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

__all__ = ("RuntimeDir",)

logger = logging.getLogger("flask_bokeh")

_NAMES = 10


class RuntimeDir:
    """Finds the folder, and makes it where it is missing. For any thread."""

    def __init__(self, key: bytes, parent: str | None) -> None:
        """
        :param key: the key that signs the site's tokens: who has it may meet here.
        :param parent: where to make it; else where the system keeps such things.
        """
        base = Path(parent or os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        user = os.geteuid() if hasattr(os, "geteuid") else 0
        self._candidates = [
            base / f"flask_bokeh-{user}-{_digest(key, number)}" for number in range(_NAMES)
        ]
        self.problem: str | None = None
        """What was wrong when it was looked for last, for the site's administrator."""

    def find(self) -> Path | None:
        """Return the folder; None where there can't be one. What is wrong is logged once."""
        if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "send_fds"):
            return None
        refused = ""
        try:
            folder, refused = self._find()
            reason = "all its names are taken" if folder is None else ""
        except OSError as error:
            folder, reason = None, str(error)
        if folder is None:
            self._tell(
                "Logouts and close_sessions() reach only the worker that they come to, and sockets "
                f"can't be passed on to other workers: {reason}. {refused}Set BOKEH_SOCKET_DIR to "
                "a folder that this account may write to."
            )
        elif refused:
            self._tell(f"{refused}Workers meet in {folder} instead. Remove what is there.")
        else:
            self.problem = None
        return folder

    def _find(self) -> tuple[Path | None, str]:
        """The folder, and which one before it can't be trusted.

        One that is there comes before any that could be made: who gives a name back that they have
        taken does not part workers that have met already from those that start later.
        """
        free: Path | None = None
        refused = ""
        for folder in self._candidates:
            try:
                found = folder.lstat()
            except FileNotFoundError:
                free = free or folder
                continue
            if not (wrong := _what_is_wrong(found)):
                return folder, refused
            refused = refused or (
                f"{folder} must be a folder of this account that only we may enter (mode 0700), "
                f"but it {wrong}. "
            )
        if free is not None:
            with suppress(FileExistsError):  # another thread or worker was quicker
                free.mkdir(mode=0o700)
            if _what_is_wrong(free.lstat()):  # a default ACL, for instance
                return None, refused
        return free, refused

    def _tell(self, problem: str) -> None:
        if self.problem != problem:
            self.problem = problem
            logger.warning("%s", problem)


def _what_is_wrong(found: os.stat_result) -> str:
    if not stat.S_ISDIR(found.st_mode):
        return "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is no folder"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    mode = stat.S_IMODE(found.st_mode)
    return f"has mode {mode:04o}" if mode & 0o077 or mode & 0o700 != 0o700 else ""


def _digest(key: bytes, number: int) -> str:
    return sha256(b"flask_bokeh workers" + str(number or "").encode() + key).hexdigest()[:16]
