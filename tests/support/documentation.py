"""Code blocks of the documentation's pages."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"(?:# |\{# )([\w./-]+\.\w+)(?: #\})?\n")


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{re.escape(language)}\n(.*?)```", text, re.DOTALL)


def files_of(page: Path) -> dict[str, str]:
    """Return the blocks that are whole files, by the name in their first line."""
    code = [block for kind in ("python", "html+jinja") for block in blocks(page.read_text(), kind)]
    return {match[1]: block for block in code if (match := _NAME.match(block))}


def fragments_of(page: Path) -> list[str]:
    """Return the blocks of Python that are not whole files."""
    return [code for code in blocks(page.read_text(), "python") if not _NAME.match(code)]
