"""Parse pages that have plots of flask_bokeh."""

from __future__ import annotations

import re


def tokens_in(html: str) -> list[str]:
    """Return the session tokens of a page, one for each plot."""
    return re.findall(r'"token":"([A-Za-z0-9_.-]+)"', html)
