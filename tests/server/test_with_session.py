"""with_session() on views of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Flask, render_template_string
from flask.views import MethodView, View

from flask_bokeh import FlaskBokeh, FlaskBokehError, PulledSession


def test_with_session_decorates_all_kinds_of_views(site: Flask, bokeh: FlaskBokeh) -> None:
    """Functions, async functions, methods, and whole classes through ``decorators``."""
    pytest.importorskip("asgiref", reason="async views need Flask's async extra")

    @site.get("/plain/<word>")
    @bokeh.with_session("/ok")
    def plain(word: str, bokeh_session: PulledSession) -> str:
        return f"{word} {bokeh_session.path}"

    @site.get("/async")
    @bokeh.with_session("/ok", name="plot")
    async def asynchronous(plot: PulledSession) -> str:
        return plot.path

    class Methods(MethodView):
        @bokeh.with_session("/ok")
        def get(self, bokeh_session: PulledSession) -> str:
            return bokeh_session.path

    class Whole(View):
        decorators: ClassVar[list[Callable[..., Any]]] = [bokeh.with_session("/ok")]

        def dispatch_request(self, bokeh_session: PulledSession) -> str:  # type: ignore[override]
            return bokeh_session.path

    site.add_url_rule("/methods", view_func=Methods.as_view("methods"))
    site.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    client = site.test_client()
    assert client.get("/plain/hello").text == "hello /ok"
    for path in ("/async", "/methods", "/whole"):
        assert client.get(path).text == "/ok", path
    assert plain.__name__ == "plain"


def test_client_transport_in_an_async_view_is_refused(site: Flask, bokeh: FlaskBokeh) -> None:
    """bokeh.client can't run on a thread with a running loop; the error recommends 'direct'."""
    pytest.importorskip("asgiref", reason="async views need Flask's async extra")

    @site.get("/async")
    @bokeh.with_session("/ok", transport="client")
    async def asynchronous(bokeh_session: PulledSession) -> str:
        return "unreachable"

    site.testing = True
    with pytest.raises(FlaskBokehError, match="Use transport='direct'"):
        site.test_client().get("/async")


def test_embedding_a_session_twice_is_refused(site: Flask, bokeh: FlaskBokeh) -> None:
    @site.get("/")
    @bokeh.with_session("/ok")
    def index(bokeh_session: PulledSession) -> str:
        return render_template_string("{% bokeh %}{% bokeh %}")

    site.testing = True
    with pytest.raises(FlaskBokehError, match="is on this page already"):
        site.test_client().get("/")
