"""Whose sessions have been ended, and when: a token of before opens nothing any more.

That must be known to a worker that starts later, too, or whose Bokeh server does not run yet. So
it is kept as the times of empty files, below the folder in which a site's workers meet, and in
memory where there is no such folder. For any thread.
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

_PREFIX = "ended."
_AT_ONCE = 100


class RevocationList:
    """The logouts of a site."""

    def __init__(self, folder: Callable[[], Path | None], keep: float) -> None:
        """
        :param folder: where the site's workers meet; None where they can't.
        :param keep: seconds after which a token is too old for anybody.
        """
        self._folder = folder
        self._keep = keep
        self._times: dict[str, float] = {}
        self._many = _AT_ONCE

    def add(self, subject_digests: Collection[str], then: float) -> None:
        """Say that somebody's sessions have been ended.

        :param subject_digests: what tokens that they asked for are bound to.
        :param then: seconds since the epoch.
        """
        self._forget(time.time())
        self._times.update(dict.fromkeys(subject_digests, then))
        if (folder := self._folder()) is None:
            return
        try:
            marks = self._marks(folder, then)
            marks.mkdir(mode=0o700, exist_ok=True)
            for digest in subject_digests:
                file = marks / digest
                file.touch(mode=0o600)
                os.utime(file, (then, then))
        except OSError as error:
            logger.warning("Other workers may not learn of a logout: %s", error)

    def ends(self, token: Token) -> bool:
        """Whether a token is of before."""
        return token.subject is not None and self.ends_all([token.subject], token.issued_at)

    def ends_all(self, subject_digests: Collection[str], issued: float) -> bool:
        """Whether what was issued then is of before, for one who may be any of these."""
        return any(self._since(digest) >= issued for digest in subject_digests)

    def _since(self, digest: str) -> float:
        then = self._times.get(digest, 0.0)
        if (folder := self._folder()) is not None:
            now = time.time()
            for when in (now, now - self._keep):
                with suppress(OSError):  # mostly there is no such file
                    then = max(then, (self._marks(folder, when) / digest).stat().st_mtime)
        return then

    def _marks(self, folder: Path, when: float) -> Path:
        """The folder of the files of some time: when all in it are too old, it can go."""
        return folder / f"{_PREFIX}{int(when // self._keep)}"

    def _forget(self, now: float) -> None:
        """Forget what is too old: now and then, and a few files at a time, so nobody waits."""
        if len(self._times) > self._many:
            for digest, when in list(self._times.items()):  # in place: other threads add to it
                if when < now - self._keep:
                    self._times.pop(digest, None)
            self._many = 2 * len(self._times) + _AT_ONCE
        if (folder := self._folder()) is None:
            return
        living = {self._marks(folder, when).name for when in (now, now - self._keep)}
        with suppress(OSError):  # another worker was quicker
            for old in folder.glob(f"{_PREFIX}*"):
                if old.name in living:
                    continue
                with os.scandir(old) as files:
                    for file in islice(files, _AT_ONCE):
                        os.unlink(file)
                with suppress(OSError):  # until it is empty
                    old.rmdir()
