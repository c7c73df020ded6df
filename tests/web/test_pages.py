"""Pages, autoload scripts and metadata of applications."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bokeh import FlaskBokeh

from ..support.html import tokens_in


def test_page_exists_only_with_page_true(site: FlaskClient, app: Flask) -> None:
    """Page, autoload.js and metadata are 404 without page=True; in debug mode the 404 says so."""
    for suffix in ("", "/autoload.js?bokeh-autoload-element=e", "/metadata"):
        assert site.get(f"/bokeh/hidden{suffix}").status_code == 404
        assert site.get(f"/bokeh/open{suffix}", query_string=None).status_code in (200, 400)
    app.debug = True
    assert "page=True" in site.get("/bokeh/hidden").text
    assert site.get("/bokeh/").status_code == 404


def test_page_has_our_urls_its_query_and_a_token(site: FlaskClient) -> None:
    """The query becomes the arguments of Bokeh's own page."""
    response = site.get("/bokeh/open?year=2024")
    assert "<title>year 2024</title>" in response.text
    assert "/bokeh/static/js/bokeh.min.js?v=" in response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert len(tokens_in(response.text)) == 1


def test_autoload_script_loads_bokehjs_from_this_host(site: FlaskClient) -> None:
    """With resources=none, the script loads no BokehJS."""
    response = site.get("/bokeh/open/autoload.js?bokeh-autoload-element=e1&year=1")
    assert response.mimetype == "application/javascript"
    assert response.headers["Cache-Control"] == "no-store"
    assert "http://localhost/bokeh/static/js/bokeh.min.js" in response.text
    assert '"http://localhost"' in response.text
    assert len(tokens_in(response.text)) == 1
    bare = site.get("/bokeh/open/autoload.js?bokeh-autoload-element=e1&resources=none")
    assert "bokeh.min.js" not in bare.text


@pytest.mark.parametrize("element", ["", "a'b", "<x>", "1a"])
def test_autoload_refuses_an_invalid_element_id(site: FlaskClient, element: str) -> None:
    """The element's ID is written into the script."""
    response = site.get("/bokeh/open/autoload.js", query_string={"bokeh-autoload-element": element})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.test"}, 200),
    ],
)
def test_autoload_is_refused_to_other_sites(
    headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Another site's page gets a token only if the site is listed; refusals are logged."""
    other, extension = Flask("other"), FlaskBokeh(allow_ws_origin=["https://friend.test"])
    other.secret_key = "x" * 20
    extension.add_application("/open", lambda doc: None, page=True)
    extension.init_app(other)
    response = other.test_client().get(
        "/bokeh/open/autoload.js?bokeh-autoload-element=e", headers=headers
    )
    assert response.status_code == status
    allowed = response.headers.get("Access-Control-Allow-Origin")
    assert allowed == (headers.get("Origin") if status == 200 else None)
    assert ("see BOKEH_ALLOW_WS_ORIGIN" in caplog.text) == (status == 403)


def test_metadata_has_path_and_data_of_an_application(site: FlaskClient) -> None:
    assert site.get("/bokeh/team/meta/metadata").json == {"url": "/team/meta", "data": {"by": "us"}}
