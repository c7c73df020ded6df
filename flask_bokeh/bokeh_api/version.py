"""Refuse a Bokeh that this package was not written for, before anything else imports it."""

from __future__ import annotations

import bokeh

__all__ = ("check_version",)


def check_version(found: str) -> None:
    """Raise ImportError unless this version of Bokeh is supported.

    With an unknown one, parts would fail where nobody looks: after a logout, sessions would go on.
    """
    major, _, rest = found.partition(".")
    minor = rest.partition(".")[0]
    if major != "3" or (minor.isdecimal() and int(minor) < 9):
        raise ImportError(
            f"flask_bokeh works with Bokeh 3, from 3.9 on, and found Bokeh {found}. Install one "
            "that it works with: pip install 'bokeh>=3.9,<4'"
        )


check_version(bokeh.__version__)
