"""The private directory in which the workers of a site meet.

Its name is derived from the key of the site's tokens, so that all workers find the same directory
and other accounts cannot guess a name that has not been used yet. An account that has seen the
name can create the directory while it does not exist, for example after a restart of the machine.
All workers use the next name then.
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
    """Finds the directory, and creates it if it does not exist. For any thread."""

    def __init__(self, key: bytes, parent: str | None) -> None:
        """
        :param key: the key that signs the site's tokens.
        :param parent: directory to create it in; None for the system's place.
        """
        base = Path(parent or os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        user = os.geteuid() if hasattr(os, "geteuid") else 0
        self._candidates = [
            base / f"flask_bokeh-{user}-{_digest(key, number)}" for number in range(_NAMES)
        ]
        self.problem: str | None = None
        """Message for the site's administrator about the last search; None if all is well."""

    def find(self) -> Path | None:
        """Return the directory; None where there are no unix sockets, or none can be created.

        Problems are logged once.
        """
        if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "send_fds"):
            return None
        try:
            directory, refusal = self._find_or_create()
            reason = "all its names are taken"
        except OSError as error:
            directory, refusal, reason = None, "", str(error)
        if directory is None:
            self._report(
                "Logouts and close_sessions() reach only the worker that gets them, and sockets "
                f"can't be passed on to other workers: {reason}. {refusal}Set BOKEH_RUNTIME_DIR to "
                "a directory that this account may write to."
            )
        elif refusal:
            self._report(f"{refusal}Workers meet in {directory} instead. Remove what is there.")
        else:
            self.problem = None
        return directory

    def _find_or_create(self) -> tuple[Path | None, str]:
        """Return the directory, and why the first unusable name before it was refused.

        A directory that exists is preferred to one with an earlier name that could be created.
        Otherwise, an account that removes what it has put under the earlier name would separate
        workers that have met already from those that start later.

        :raises OSError: if the directory cannot be created.
        """
        missing: Path | None = None
        refusal = ""
        for directory in self._candidates:
            try:
                found = directory.lstat()
            except FileNotFoundError:
                missing = missing or directory
                continue
            if not (wrong := _what_is_wrong(found)):
                return directory, refusal
            refusal = refusal or _refusal(directory, wrong)
        if missing is not None:
            with suppress(FileExistsError):  # another thread or worker was faster
                missing.mkdir(mode=0o700)
            if wrong := _what_is_wrong(missing.lstat()):  # for example by a default ACL
                return None, refusal or _refusal(missing, wrong)
        return missing, refusal

    def _report(self, problem: str) -> None:
        if self.problem != problem:
            self.problem = problem
            logger.warning("%s", problem)


def _what_is_wrong(found: os.stat_result) -> str:
    if not stat.S_ISDIR(found.st_mode):
        return "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is not a directory"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}"
    mode = stat.S_IMODE(found.st_mode)
    return f"has mode {mode:04o}" if mode & 0o077 or mode & 0o700 != 0o700 else ""


def _refusal(directory: Path, wrong: str) -> str:
    return (
        f"{directory} must be a directory of this account with mode 0700, because workers trust "
        f"what is in it, but it {wrong}. "
    )


def _digest(key: bytes, number: int) -> str:
    return sha256(b"flask_bokeh workers" + str(number or "").encode() + key).hexdigest()[:16]
