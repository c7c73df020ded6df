"""What is private in Bokeh, and used: these fail when it moves."""

from __future__ import annotations

import inspect
import logging

import bokeh
import pytest
from bokeh.client import ClientSession
from bokeh.document import Document
from bokeh.server.server import BaseServer, Server
from bokeh.server.tornado import BokehTornado
from bokeh.server.views import ws

from flask_bokeh.bokeh_sockets import _tells_news


def test_the_servers_tornado_application() -> None:
    """BaseServer keeps the Tornado application in _tornado."""
    assert "self._tornado = tornado_app" in inspect.getsource(BaseServer)


def test_ending_sessions() -> None:
    """There is stop_async, or the job that ends sessions."""
    assert hasattr(Server, "stop_async") or hasattr(BokehTornado, "_cleanup_sessions")


def test_the_clients_wait() -> None:
    """A client session can be waited for until it is closed."""
    assert callable(ClientSession._loop_until_closed)
    assert isinstance(ClientSession.token, property)


def test_the_warning_we_keep_out() -> None:
    """The warning is Bokeh's still, and only that one is kept out."""
    assert "Failed sending message as connection was closed" in inspect.getsource(ws)
    logger = logging.getLogger("bokeh.server.views.ws")
    for message, kept in [
        ("Failed sending message as connection was closed", False),
        ("Something else", True),
    ]:
        record = logger.makeRecord(logger.name, logging.WARNING, "", 0, message, (), None)
        assert _tells_news(record) is kept


def test_change_callbacks_of_a_document() -> None:
    """A receiver can be taken off a document and put back."""
    document = Document()
    receiver = object()
    document.callbacks.on_change_dispatch_to(receiver)
    document.callbacks.remove_on_change(receiver)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        document.callbacks.remove_on_change(receiver)  # type: ignore[arg-type]


def test_the_version_is_one_we_know() -> None:
    """Bokeh 4 will change embedding; then embed.py must, too."""
    assert bokeh.__version__.startswith("3.")
