"""Checks of the private names of Bokeh that this package uses."""

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


def test_server_keeps_its_tornado_application() -> None:
    """BaseServer keeps the Tornado application in _tornado."""
    assert "self._tornado = tornado_app" in inspect.getsource(BaseServer)


def test_sessions_have_the_names_that_closing_uses() -> None:
    """Bokeh has the names with which sessions are discarded and WebSockets closed."""
    discard = ApplicationContext._discard_session
    assert list(inspect.signature(discard).parameters) == ["self", "session", "should_discard"]
    assert "expiration_blocked_count == 1" in inspect.getsource(discard)
    assert "_subscribed_connections" in inspect.getsource(ServerSession)
    assert "self._socket = socket" in inspect.getsource(ServerConnection)


def test_ended_session_is_left_to_the_garbage_collector() -> None:
    """Bokeh collects garbage for each session; models have the dicts that we clear instead."""
    assert "gc.collect()" in inspect.getsource(Document.destroy)
    for name in ("_callbacks", "_event_callbacks", "_unstable_default_values"):
        assert isinstance(getattr(Slider(), name), dict)


@pytest.mark.skipif(not hasattr(Server, "stop_async"), reason="Bokeh 3.9 has no executor")
def test_executor_of_bokeh_3_10_has_threads() -> None:
    executor = importlib.import_module("bokeh.server.executor")._ServerExecutor
    assert "self._executor = ThreadPoolExecutor" in inspect.getsource(executor)
    assert "self._executor = _ServerExecutor()" in inspect.getsource(BokehTornado)


def test_curdoc_list_is_isolated() -> None:
    """Bokeh has a list for the process, which we replace, or a ContextVar."""
    assert isinstance(bokeh_doc._PATCHED_CURDOCS, list | _Curdocs | ContextVar)
    isolate_curdoc()
    assert isinstance(bokeh_doc._PATCHED_CURDOCS, _Curdocs | ContextVar)


def test_websocket_handler_receives_frame_by_frame() -> None:
    """_receive() takes each frame and returns a message when it is complete."""
    assert "message = await self._receive(" in inspect.getsource(ws.WSHandler.on_message)
    assert list(inspect.signature(ws.WSHandler._receive).parameters) == ["self", "fragment"]
    assert "callback(self._async_open, self._token)" in inspect.getsource(ws.WSHandler.open)
    if hasattr(BokehTornado, "_require_running"):
        assert "if self._stopping:" in inspect.getsource(BokehTornado._require_running)


def test_client_session_can_be_waited_for() -> None:
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
def test_overridden_websocket_methods_exist(name: str, parameters: int) -> None:
    """Bokeh has each method that we override to keep contents out of logs and answers."""
    assert len(inspect.signature(getattr(ws.WSHandler, name)).parameters) == 1 + parameters


def test_websocket_handler_logs_in_known_methods_only() -> None:
    """Bokeh's handler logs what a client sent in the methods that we override only."""
    logging = {
        name
        for name, method in vars(ws.WSHandler).items()
        if inspect.isfunction(method)
        and re.search(r"log\.(error|warning)", inspect.getsource(method))
    }
    replaced = {"check_origin", "on_message", "send_message", "_internal_error", "_protocol_error"}
    assert logging - replaced == {"open", "_async_open"}  # for tokens, which have been judged


def test_message_types_and_their_handlers_are_known() -> None:
    """Each handler takes a message and a connection."""
    handlers = ProtocolHandler()._handlers
    assert set(handlers) == {"PULL-DOC-REQ", "PUSH-DOC", "PATCH-DOC", "SERVER-INFO-REQ"}
    assert all(len(inspect.signature(one).parameters) == 2 for one in handlers.values())


def test_change_receiver_of_a_document_can_be_removed() -> None:
    document = Document()
    receiver: Any = object()
    document.callbacks.on_change_dispatch_to(receiver)
    document.callbacks.remove_on_change(receiver)
    with pytest.raises(KeyError):
        document.callbacks.remove_on_change(receiver)


def test_bokeh_version_is_3() -> None:
    """Bokeh 4 will change embedding, so embed.py must change, too."""
    assert bokeh.__version__.startswith("3.")
