"""The table of ``tests.mutations`` is up to date; the run itself takes minutes."""

from __future__ import annotations

import re
from pathlib import Path

from .mutations import FILES, MUTATIONS, ROOT


def test_every_mutation_replaces_one_place() -> None:
    """The text that a row replaces is in its file exactly once."""
    counts = {row[0]: (ROOT / row[1]).read_text().count(row[2]) for row in MUTATIONS}
    assert {description: count for description, count in counts.items() if count != 1} == {}
    assert len(counts) == len(MUTATIONS)


def test_every_mutation_selects_existing_tests() -> None:
    """Each word of a selection is in the name of a test, or in its parameters."""
    paths = [ROOT / name for name in FILES]
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
    defined = re.findall(r"^def (test_\w+)", "".join(map(Path.read_text, files)), re.MULTILINE)
    for description, *_, selection in MUTATIONS:
        first, *rest = re.split(r" and | or ", selection)
        parameters = rest if " and " in selection else []
        for word in {first, *rest} - set(parameters):
            assert any(word in name for name in defined), (description, word)
