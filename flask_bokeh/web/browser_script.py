"""The browser's code: the modules of ``js/src``, joined into the one script that pages load."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ("BrowserScript", "box_style", "browser_script")

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BrowserScript:
    """A script and the hash of its text, which goes into its URL."""

    text: str
    version: str


@cache
def browser_script() -> BrowserScript:
    """Return the script for the page.

    The modules share one function's scope, in the order of their imports, so that browsers load one
    file and need no build step. Therefore no two modules may give the same name to different
    things, and an import may not rename; ``tests/test_js.py`` checks both.
    """
    parts = [
        "(() => {\n",
        '"use strict";\n',
        f"const BOX_STYLE = {json.dumps(box_style())};\n",
        *_modules("main.js", set()),
        "})();\n",
    ]
    text = "".join(parts)
    return BrowserScript(text, hashlib.sha256(text.encode()).hexdigest()[:20])


@cache
def box_style() -> str:
    """Return the style sheet of the boxes that tell a visitor what has happened to a plot."""
    return (_folder() / "box.css").read_text(encoding="utf-8")


def _modules(name: str, done: set[str]) -> Iterator[str]:
    """Yield what a module imports, then the module itself, without imports and exports."""
    if name in done:
        return
    done.add(name)
    source = (_folder() / name).read_text(encoding="utf-8")
    for imported in _IMPORT.findall(source):
        yield from _modules(imported, done)
    yield f"\n// {name}\n\n{_EXPORT.sub('', _IMPORT.sub('', source)).lstrip()}"


def _folder() -> Path:
    """Return the folder of the sources: in the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "js"
    return inside if inside.is_dir() else package.parent / "js" / "src"
