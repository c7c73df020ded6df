"""The table of ``tests.mutations`` holds; the run itself takes minutes, and is made by hand."""

from __future__ import annotations

from .mutations import MUTATIONS, ROOT


def test_every_mutation_applies() -> None:
    """What each would take away is there, once, so that it takes away that."""
    found = {what: (ROOT / name).read_text().count(old) for what, name, old, *_ in MUTATIONS}
    assert {what: count for what, count in found.items() if count != 1} == {}
    assert len(found) == len(MUTATIONS)
