"""The targets of ``tests.fuzz``, for a short time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .fuzz import TARGETS, mutations


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    """3,000 mutations of good inputs each are read, or refused as they should be."""
    target, seeds = TARGETS[name]
    rng = random.Random(4)
    for _ in range(3000):
        target(mutations(seeds, rng))


@pytest.mark.parametrize("name", TARGETS)
def test_anything(name: str) -> None:
    """So is anything at all."""
    target, _ = TARGETS[name]

    @settings(max_examples=1000, deadline=None)
    @given(st.binary(max_size=400))
    def check(data: bytes) -> None:
        target(data)

    check()
