"""Refuse versions of Bokeh that this package was not written for, before importing more of it."""

from __future__ import annotations

import bokeh

__all__ = ("check_version",)


def check_version(found: str) -> None:
    """Raise ImportError unless a version of Bokeh is supported.

    An unknown version would fail in ways that nobody notices: sessions would outlive a logout.
    """
    major, _, rest = found.partition(".")
    minor = rest.partition(".")[0]
    if major != "3" or (minor.isdecimal() and int(minor) < 9):
        raise ImportError(
            f"flask_bokeh works with Bokeh 3, from 3.9 on, and found Bokeh {found}. Install a "
            "version that it works with: pip install 'bokeh>=3.9,<4'"
        )


check_version(bokeh.__version__)
