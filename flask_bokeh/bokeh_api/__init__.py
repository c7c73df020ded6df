"""The adapter for Bokeh's server, client and page templates.

Only this room imports ``bokeh.server``, ``bokeh.client`` and ``bokeh.embed``, and only its
subpackages know one major version of Bokeh each: :mod:`~flask_bokeh.bokeh_api.v3` is the one for
Bokeh 3. All other rooms import the names below from here:

=========================  ==========================================================
:func:`make_server`        make and start a :class:`BokehServer` on a loop
:func:`close_websockets`   close the WebSockets of a session
:func:`exclusive_document` hold the lock of a session's document in a block
:class:`ClientConnection`  a session over a WebSocket, through ``bokeh.client``
:mod:`embed`               BokehJS, pages and scripts that show a session
:func:`isolate_curdoc`     give each thread a ``curdoc()`` of its own (Bokeh 3.9)
:func:`restore_curdoc`     reset ``curdoc()`` at the end of a block (Bokeh 3.9)
check_serializable         raise if a document can't be sent to a browser
check_compiled             raise if a document has a custom model that does not compile
make_columns_private       copy columns before they are changed in place
=========================  ==========================================================

Importing this room raises ImportError for a version of Bokeh that is not supported.
"""

from __future__ import annotations

from . import version  # noqa: F401  # checks the installed version before anything else
from .interface import Authorize, BokehServer, BokehSession, ServedApplication, SocketAccess

# The one place that chooses between adapters: check_version() accepts no other major version yet.
from .v3 import (
    ClientConnection,
    check_compiled,
    check_serializable,
    close_websockets,
    embed,
    exclusive_document,
    isolate_curdoc,
    make_columns_private,
    make_server,
    restore_curdoc,
)

__all__ = (
    "Authorize",
    "BokehServer",
    "BokehSession",
    "ClientConnection",
    "ServedApplication",
    "SocketAccess",
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
