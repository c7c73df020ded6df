"""Tests of Bokeh's private names that we use: they fail when one moves."""

from __future__ import annotations

import importlib
import inspect
import re
from contextvars import ContextVar
from typing import Any

import bokeh
import pytest
from bokeh.client import ClientSession
from bokeh.document import Document
from bokeh.io import doc as bokeh_doc
from bokeh.models import Slider
from bokeh.server.connection import ServerConnection
from bokeh.server.contexts import ApplicationContext
from bokeh.server.protocol_handler import ProtocolHandler
from bokeh.server.server import BaseServer, Server
from bokeh.server.session import ServerSession
from bokeh.server.tornado import BokehTornado
from bokeh.server.views import ws

from flask_bokeh.bokeh_api.v3.curdoc import _Curdocs, isolate_curdoc


def test_the_servers_tornado_application() -> None:
    """BaseServer keeps the Tornado application in _tornado."""
    assert "self._tornado = tornado_app" in inspect.getsource(BaseServer)


def test_ending_sessions() -> None:
    """There is what ends a session, and what closes its WebSockets."""
    discard = ApplicationContext._discard_session
    assert list(inspect.signature(discard).parameters) == ["self", "session", "should_discard"]
    assert "expiration_blocked_count == 1" in inspect.getsource(discard)
    assert "_subscribed_connections" in inspect.getsource(ServerSession)
    assert "self._socket = socket" in inspect.getsource(ServerConnection)


def test_what_an_ended_session_leaves() -> None:
    """Bokeh collects garbage for each session, and leaves to that what we empty in its models."""
    assert "gc.collect()" in inspect.getsource(Document.destroy)
    for name in ("_callbacks", "_event_callbacks", "_unstable_default_values"):
        assert isinstance(getattr(Slider(), name), dict)


def test_bokehs_own_threads() -> None:
    """Bokeh 3.10 has a pool, and that an executor; 3.9 has none."""
    if hasattr(Server, "stop_async"):
        executor = importlib.import_module("bokeh.server.executor")._ServerExecutor
        assert "self._executor = ThreadPoolExecutor" in inspect.getsource(executor)
        assert "self._executor = _ServerExecutor()" in inspect.getsource(BokehTornado)


def test_curdoc() -> None:
    """It has a list for the whole process, which we replace, or a ContextVar, which we need not."""
    assert isinstance(bokeh_doc._PATCHED_CURDOCS, list | _Curdocs | ContextVar)
    isolate_curdoc()
    assert isinstance(bokeh_doc._PATCHED_CURDOCS, _Curdocs | ContextVar)


def test_the_handler_of_websockets() -> None:
    """A message is received frame by frame, through a method that says when it is whole."""
    assert "message = await self._receive(" in inspect.getsource(ws.WSHandler.on_message)
    assert list(inspect.signature(ws.WSHandler._receive).parameters) == ["self", "fragment"]
    assert "callback(self._async_open, self._token)" in inspect.getsource(ws.WSHandler.open)
    if hasattr(BokehTornado, "_require_running"):
        assert "if self._stopping:" in inspect.getsource(BokehTornado._require_running)


def test_the_clients_wait() -> None:
    """A client session can be waited for until it is closed."""
    assert callable(ClientSession._loop_until_closed)
    assert isinstance(ClientSession.token, property)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("on_message", 1),
        ("_receive", 1),
        ("_handle", 1),
        ("send_message", 1),
        ("_internal_error", 1),
        ("_protocol_error", 1),
        ("_async_open", 1),
        ("check_origin", 1),
    ],
)
def test_methods_of_a_websocket(name: str, parameters: int) -> None:
    """Each method that we replace, so that it logs and answers without contents, is Bokeh's."""
    assert len(inspect.signature(getattr(ws.WSHandler, name)).parameters) == 1 + parameters


def test_what_a_websocket_logs() -> None:
    """Bokeh's handler of a WebSocket logs what a client sent in these methods, and no others."""
    logging = {
        name
        for name, method in vars(ws.WSHandler).items()
        if inspect.isfunction(method)
        and re.search(r"log\.(error|warning)", inspect.getsource(method))
    }
    replaced = {"check_origin", "on_message", "send_message", "_internal_error", "_protocol_error"}
    assert logging - replaced == {"open", "_async_open"}  # for tokens, which have been judged


def test_the_handlers_of_messages() -> None:
    """Messages of these types are given to a function of a message and a connection."""
    handlers = ProtocolHandler()._handlers
    assert set(handlers) == {"PULL-DOC-REQ", "PUSH-DOC", "PATCH-DOC", "SERVER-INFO-REQ"}
    assert all(len(inspect.signature(one).parameters) == 2 for one in handlers.values())


def test_change_callbacks_of_a_document() -> None:
    """A receiver can be taken off a document and put back."""
    document = Document()
    receiver: Any = object()
    document.callbacks.on_change_dispatch_to(receiver)
    document.callbacks.remove_on_change(receiver)
    with pytest.raises(KeyError):
        document.callbacks.remove_on_change(receiver)


def test_the_version_is_one_we_know() -> None:
    """Bokeh 4 will change embedding; then embed.py must, too."""
    assert bokeh.__version__.startswith("3.")
