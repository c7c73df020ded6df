"""Put the SVG files of diagrams/ into the page itself, where they follow its light or dark colours.

Anywhere else, as in the Markdown of the sources, they are ordinary images.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class InlineDiagrams(SphinxPostTransform):
    """Replaces the images by the text of their files."""

    default_priority = 5  # before images are collected
    builders = ("html",)

    def run(self, **kwargs: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            uri = str(image["uri"])
            if uri.endswith(".svg") and "diagrams/" in uri:
                svg = (Path(self.app.srcdir) / uri.lstrip("/")).read_text()
                image.replace_self(nodes.raw("", inline(svg, image.get("alt", "")), format="html"))


def inline(svg: str, description: str) -> str:
    """Return an SVG file as HTML, with a description for those who do not see it."""
    label = f'role="img" aria-label="{escape(description)}"'
    svg = re.sub(r"<svg\b", f"<svg {label}", svg.strip(), count=1)
    return f'<div class="diagram">{svg}</div>'


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(InlineDiagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
