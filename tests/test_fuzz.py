"""Short runs of the targets of ``tests.fuzz``."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .fuzz import TARGETS, mutations


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_read_or_refused(name: str) -> None:
    """No mutation of a good input raises an unexpected error."""
    target, seeds = TARGETS[name]
    rng = random.Random(4)
    for _ in range(3000):
        target(mutations(seeds, rng))


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes_are_read_or_refused(name: str) -> None:
    target, _ = TARGETS[name]

    @settings(max_examples=1000, deadline=None)
    @given(st.binary(max_size=400))
    def check(data: bytes) -> None:
        target(data)

    check()
