"""Versions of static files: a hash of their content, as Tornado makes it."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

__all__ = ("content_version",)


def content_version(path: str | os.PathLike[str]) -> str | None:
    """Return the version of a file as it is now; None if it can't be read.

    With it in the URL, a browser may keep the file for ever.
    """
    try:
        found = os.stat(path)
        return _digest(os.fspath(path), found.st_mtime_ns, found.st_size)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _digest(path: str, modified: int, size: int) -> str:
    """Hash a file. It is hashed again when its time or its size have changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
