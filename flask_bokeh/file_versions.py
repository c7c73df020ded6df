"""Versions of static files: the hash of their content that Tornado uses."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

__all__ = ("content_version",)


def content_version(path: str | os.PathLike[str]) -> str | None:
    """Return the version of a file; None if it can't be read.

    With the version in its URL, a browser may cache the file forever.
    """
    try:
        found = os.stat(path)
        return _digest(os.fspath(path), found.st_mtime_ns, found.st_size)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _digest(path: str, modified: int, size: int) -> str:
    """Hash a file. The time and size are keys of the cache."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
