"""Whose sessions have been ended, and when: a token of before opens nothing any more.

That must be known to a worker that starts later, too, or whose Bokeh server does not run yet. So
it is kept as the times of empty files, in the folder in which a site's workers meet, and in memory
where there is no such folder. For any thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from .visits import Token

__all__ = ("Ended",)

logger = logging.getLogger("flask_bokeh")

_SUFFIX = ".ended"


class Ended:
    """The logouts of a site."""

    def __init__(self, folder: Callable[[], Path | None], keep: float) -> None:
        """
        :param folder: where the site's workers meet; None where they can't.
        :param keep: seconds after which a token is too old for anybody.
        """
        self._folder = folder
        self._keep = keep
        self._times: dict[str, float] = {}

    def add(self, digests: Collection[str], then: float) -> None:
        """Say that somebody's sessions have been ended.

        :param digests: what tokens that they asked for are bound to.
        :param then: seconds since the epoch.
        """
        self._forget()
        self._times.update(dict.fromkeys(digests, then))
        if (folder := self._folder()) is None:
            return
        try:
            for digest in digests:
                file = _file(folder, digest)
                file.touch(mode=0o600)
                os.utime(file, (then, then))
        except OSError as error:
            logger.warning("Other workers may not learn of a logout: %s", error)

    def ends(self, token: Token) -> bool:
        """Whether a token is of before."""
        return token.bound is not None and self._since(token.bound) >= token.issued

    def _since(self, digest: str) -> float:
        then = self._times.get(digest, 0.0)
        if (folder := self._folder()) is not None:
            with suppress(OSError):  # mostly there is no such file
                then = max(then, _file(folder, digest).stat().st_mtime)
        return then

    def _forget(self) -> None:
        over = time.time() - self._keep
        for digest, then in list(self._times.items()):  # in place: other threads add to it
            if then < over:
                self._times.pop(digest, None)
        folder = self._folder()
        for file in () if folder is None else folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):  # another worker was quicker
                if file.stat().st_mtime < over:
                    file.unlink()


def _file(folder: Path, digest: str) -> Path:
    return folder / f"{digest}{_SUFFIX}"
