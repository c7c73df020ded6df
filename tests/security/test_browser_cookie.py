"""The cookie that identifies anonymous browsers, and the pages that set it."""

from __future__ import annotations

import pytest
from flask import Flask, Response, render_template_string
from flask.testing import FlaskClient

from flask_bokeh import EmbedError, FlaskBokeh, TokenError

from ..support.html import tokens_in


def test_tokens_and_cookies_outlive_a_key_rotation(bokeh: FlaskBokeh) -> None:
    """A token and a cookie stay valid while their key is in SECRET_KEY_FALLBACKS."""

    def app_with(key: str, *older: str) -> Flask:
        app = Flask("rotating")
        app.secret_key = key
        app.config["SECRET_KEY_FALLBACKS"] = list(older)
        bokeh.init_app(app)

        @app.get("/show")
        def show() -> str:
            return render_template_string("{% bokeh '/x' %}")

        return app

    bokeh.add_application("/x", lambda doc: None)
    before, after, much_later = app_with("old"), app_with("new", "old"), app_with("new")
    page = before.test_client().get("/show")
    (token,) = tokens_in(page.text)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    for app, good in ((before, True), (after, True), (much_later, False)):
        state = app.extensions["bokeh"]
        with app.test_request_context(headers={"Cookie": cookie}):
            if good:
                state.authorizer.authorize("/x", token, state.integration.identify())
            else:
                with pytest.raises(TokenError, match="wrong signature"):
                    state.authorizer.authorize("/x", token, state.integration.identify())


def test_cookie_is_set_once_for_a_browser(app: Flask, site: FlaskClient) -> None:
    """A page sets one cookie for all its plots; a browser that sends it back gets no other."""
    app.add_url_rule("/two", "two", lambda: render_template_string("{% bokeh '/x' %}" * 2))
    page = site.get("/two")
    assert len(tokens_in(page.text)) == 2
    assert len(page.headers.getlist("Set-Cookie")) == 1
    assert "Set-Cookie" not in site.get("/two").headers


def test_pages_in_one_application_context_get_own_cookies(app: Flask, site: FlaskClient) -> None:
    """Each page has its own BokehJS and cookie if the requests share an application context."""
    with app.app_context():
        pages = [app.test_client().get("/show") for _ in range(2)]
    for page in pages:
        assert page.text.count("bokeh.min.js") == 1
        assert "Set-Cookie" in page.headers


def test_streamed_page_needs_a_user_instead_of_a_cookie(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """A streamed page raises EmbedError if it would have to set the cookie too late."""
    user: list[str] = []
    bokeh.user_loader(lambda: user[0] if user else None)

    @app.get("/streamed")
    def streamed() -> Response:
        from flask import stream_template_string

        return Response(stream_template_string("{% bokeh '/x' %}"))

    with pytest.raises(EmbedError, match="A streamed page"):
        _ = site.get("/streamed").text
    user.append("ann")
    page = site.get("/streamed")
    assert len(tokens_in(page.text)) == 1
    assert page.headers["Cache-Control"] == "no-store"


def test_streamed_page_that_may_be_stored_gets_no_token(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """A plot in a cacheable stream raises EmbedError; other streams keep their headers."""
    bokeh.user_loader(lambda: "ann")

    @app.get("/streamed/<kind>")
    def streamed(kind: str) -> Response:
        from flask import stream_template_string

        if kind == "csv":
            return Response(iter(["a,b\n"]), mimetype="text/csv")
        return Response(
            stream_template_string("{% bokeh '/x' %}"), headers={"Cache-Control": "max-age=60"}
        )

    with pytest.raises(EmbedError, match="let it be stored"):
        _ = site.get("/streamed/html").text
    assert "Cache-Control" not in site.get("/streamed/csv").headers


def test_page_that_sets_a_cookie_is_not_stored(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """The page is not stored even if it shows no plot or is refused."""

    @app.get("/pulled")
    @bokeh.with_session("/x")
    def pulled(bokeh_session: object) -> str:
        return "pulled"

    bokeh.guard("/y")(lambda: False)

    @app.get("/refused")
    def refused() -> str:
        return str(bokeh.server_document("/y"))

    for path, status in (("/pulled", 200), ("/refused", 403)):
        page = app.test_client().get(path)
        assert page.status_code == status
        assert "Set-Cookie" in page.headers
        assert page.headers["Cache-Control"] == "no-store"
