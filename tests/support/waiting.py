"""Wait for a condition, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
TIMEOUT = 60
"""Seconds to wait for events that take one or two; a busy machine can be much slower."""


def eventually(check: Callable[[], T], what: str, seconds: float = TIMEOUT) -> T:
    """Wait until a check returns a true value, and return the value.

    :param what: the name of the condition in the message of a failure.
    """
    deadline = time.monotonic() + seconds
    while not (result := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}; last: {result!r}")
        time.sleep(0.02)
    return result
