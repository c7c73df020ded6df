"""Revocation of session tokens, by logouts and ``close_sessions``.

A worker that starts later, or whose Bokeh server does not run yet, must know about a revocation,
too. So each one is recorded as an empty file whose modification time is the time of the
revocation, in the folder that the site's workers share; and in memory, where there is no folder.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import islice
from pathlib import Path

from .tokens import Token

__all__ = ("RevocationList",)

logger = logging.getLogger("flask_bokeh")

_PREFIX = "revoked."
_BATCH = 100
"""Old files that one call removes from a folder, and entries after which memory is cleaned."""


class RevocationList:
    """Records for each subject the time up to which its tokens are revoked. Thread-safe."""

    def __init__(self, find_folder: Callable[[], Path | None], keep: float) -> None:
        """
        :param find_folder: returns the folder that the site's workers share; None without one.
        :param keep: seconds after which a record is dropped, because all tokens from before the
            revocation are too old anyway.
        """
        self._find_folder = find_folder
        self._keep = keep
        self._times: dict[str, float] = {}
        self._clean_above = _BATCH

    def revoke(self, subject_digests: Collection[str], revoked_at: float) -> None:
        """Revoke all tokens of these subjects that were issued up to a time.

        :param subject_digests: the values of :attr:`Token.subject`.
        :param revoked_at: seconds since the epoch.
        """
        self._remove_old(time.time())
        self._times.update(dict.fromkeys(subject_digests, revoked_at))
        if (folder := self._find_folder()) is None:
            return
        try:
            records = self._records(folder, revoked_at)
            records.mkdir(mode=0o700, exist_ok=True)
            for digest in subject_digests:
                file = records / digest
                file.touch(mode=0o600)
                os.utime(file, (revoked_at, revoked_at))
        except OSError as error:
            logger.warning("Other workers may not learn of a logout: %s", error)

    def is_revoked(self, token: Token) -> bool:
        """Return whether a token was issued before its subject's tokens were revoked."""
        return token.subject is not None and self.are_revoked([token.subject], token.issued_at)

    def are_revoked(self, subject_digests: Collection[str], issued_at: float) -> bool:
        """Return whether tokens issued at a time are revoked for any of these subjects."""
        return any(self._revoked_at(digest) >= issued_at for digest in subject_digests)

    def _revoked_at(self, digest: str) -> float:
        """Return the time up to which a subject's tokens are revoked; 0 without a revocation."""
        latest = self._times.get(digest, 0.0)
        if (folder := self._find_folder()) is not None:
            now = time.time()
            for period in (now, now - self._keep):
                with suppress(OSError):  # usually there is no such file
                    record = self._records(folder, period) / digest
                    latest = max(latest, record.stat().st_mtime)
        return latest

    def _records(self, folder: Path, when: float) -> Path:
        """Return the subfolder for a period, which is removed when all its records are old."""
        return folder / f"{_PREFIX}{int(when // self._keep)}"

    def _remove_old(self, now: float) -> None:
        """Remove old records, a limited number of files at a time, so that no call is slow."""
        if len(self._times) > self._clean_above:
            for digest, when in list(self._times.items()):  # in place: other threads add to it
                if when < now - self._keep:
                    self._times.pop(digest, None)
            self._clean_above = 2 * len(self._times) + _BATCH
        if (folder := self._find_folder()) is None:
            return
        current = {self._records(folder, when).name for when in (now, now - self._keep)}
        with suppress(OSError):  # another worker removed it first
            for old in folder.glob(f"{_PREFIX}*"):
                if old.name in current:
                    continue
                with os.scandir(old) as files:
                    for file in islice(files, _BATCH):
                        os.unlink(file)
                with suppress(OSError):  # not empty yet
                    old.rmdir()
