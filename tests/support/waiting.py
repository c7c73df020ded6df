"""Wait for a condition, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
TIMEOUT = 60
"""Seconds for what takes one or two: a busy machine can be slower by an order."""


def eventually(check: Callable[[], T], what: str, seconds: float = TIMEOUT) -> T:
    """Wait until a check returns something true, and return that.

    :param what: what is waited for, for the failure's message.
    """
    deadline = time.monotonic() + seconds
    while not (result := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}; last: {result!r}")
        time.sleep(0.02)
    return result
