"""The adapter for Bokeh 3: the names that :mod:`flask_bokeh.bokeh_api` exports.

Bokeh's private API is used where there is no public one; each place says so, and
``tests/test_bokeh_compat.py`` fails when Bokeh moves one of them.
"""

from __future__ import annotations

from . import embed
from .client import ClientConnection
from .curdoc import isolate_curdoc, restore_curdoc
from .custom_models import check_compiled
from .patches import make_columns_private
from .serialization import check_serializable
from .server import make_server
from .sessions import close_websockets, exclusive_document

__all__ = (
    "ClientConnection",
    "check_compiled",
    "check_serializable",
    "close_websockets",
    "embed",
    "exclusive_document",
    "isolate_curdoc",
    "make_columns_private",
    "make_server",
    "restore_curdoc",
)
