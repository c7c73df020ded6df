"""Pages under a strict Content-Security-Policy, in a real browser."""

from __future__ import annotations

import re

import pytest
from flask import Flask, Response

from flask_bokeh import FlaskBokeh

from .support import ROOT
from .support.browser import Tab
from .support.servers import Live

APP = "tests.live_apps.guarded:create_app()"
POLICY = {
    "default-src": "'none'",
    "script-src": "'strict-dynamic'",  # and the nonce, from Flask-Talisman
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'self'",
}


PAGES = ["/show/open", "/mine", "/bokeh/page"]
"""A page with a plot, one with a pulled session, and the page of an application."""


def open_live_plot(tab: Tab, url: str) -> str:
    """Open a page, use its slider, and return the page's policy; nothing violates it."""
    with tab.page.expect_response(url) as answer:
        tab.open(url)
    tab.move_slider()
    tab.until_title("k=2")
    assert tab.trouble == [], url
    return str(answer.value.headers["content-security-policy"])


@pytest.mark.parametrize("resources", ["server", "inline"])
def test_plots_are_live_under_a_strict_policy(module_live: Live, tab: Tab, resources: str) -> None:
    """Pages violate no policy with ``script-src 'nonce-...' 'strict-dynamic'``."""
    config = {"POLICY": POLICY, "BOKEH_RESOURCES": resources}
    site = module_live("gunicorn-gthread", APP, config=config)
    tab.page.add_init_script(
        "document.addEventListener('securitypolicyviolation', "
        "e => console.error(`violation of ${e.violatedDirective}: ${e.blockedURI}`))"
    )
    for page in PAGES:
        policy = open_live_plot(tab, site.url + page)
        assert re.search(r"script-src 'strict-dynamic' 'nonce-[\w-]{20,}'", policy), policy


def test_plots_are_live_under_a_policy_without_a_nonce(live: Live, tab: Tab) -> None:
    """Pages have no inline code, so that ``script-src 'self'`` is enough for them."""
    policy = {**POLICY, "script-src": "'self'"}
    site = live("gunicorn-gthread", APP, config={"POLICY": policy, "NONCE_IN": []})
    for page in PAGES:
        assert "script-src 'self';" in open_live_plot(tab, site.url + page)


def test_strict_policy_refuses_code_without_the_nonce(module_live: Live, tab: Tab) -> None:
    """The policy of these tests has an effect in the browser."""
    config = {"POLICY": POLICY, "BOKEH_RESOURCES": "server"}
    site = module_live("gunicorn-gthread", APP, config=config)
    tab.page.goto(f"{site.url}/plain")
    tab.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"window.hit = 1\">')"
    )
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("window.hit") is None
    assert any("Content Security Policy" in line for line in tab.trouble)
    tab.forgive("Content Security Policy", "x:")


def test_nonce_callable_is_used_in_every_tag(app: Flask, bokeh: FlaskBokeh) -> None:
    """BOKEH_CSP_NONCE is called in the request; its value is escaped."""
    bokeh.add_application("/x", lambda doc: None, page=True)
    app.config["BOKEH_CSP_NONCE"] = lambda: 'a"b'
    bokeh.init_app(app)
    with app.test_request_context():
        html = str(bokeh.server_document("/x"))
    page = app.test_client().get("/bokeh/x").text
    for text, kinds in ((html, "script|link|style"), (page, "script|link")):  # Bokeh's own style
        tags = re.findall(rf"<(?:{kinds})\b[^>]*", text)
        tags = [tag for tag in tags if 'type="application/json"' not in tag]
        assert len(tags) >= 3
        assert all(re.search(r'nonce="a(&#34;|&quot;)b"', tag) for tag in tags), tags


POLICY_HEADER = "Content-Security-Policy"


@pytest.mark.parametrize(
    ("headers", "policy"),
    [
        ({}, "frame-ancestors 'self'"),
        (
            {POLICY_HEADER: "default-src 'self'; img-src *;"},
            "default-src 'self'; img-src *; frame-ancestors 'self'",
        ),
        (  # two policies; both are enforced
            {POLICY_HEADER: "img-src *, default-src 'self'"},
            "img-src *, default-src 'self'; frame-ancestors 'self'",
        ),
        (  # the site has chosen frame-ancestors
            {POLICY_HEADER: "Frame-Ancestors https://partner.example; img-src *"},
            "Frame-Ancestors https://partner.example; img-src *",
        ),
        ({POLICY_HEADER: "img-src *, frame-ancestors 'none'"}, "img-src *, frame-ancestors 'none'"),
        ({"X-Frame-Options": "DENY"}, None),  # browsers would look at frame-ancestors only
        ({"X-Frame-Options": "SAMEORIGIN"}, "frame-ancestors 'self'"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rebuilt", [True, False])
def test_pages_keep_the_sites_policy_and_add_frame_ancestors(
    app: Flask,
    bokeh: FlaskBokeh,
    headers: dict[str, str],
    policy: str | None,
    first: bool,
    rebuilt: bool,
) -> None:
    """Pages of applications have the site's whole policy; frame-ancestors is added if missing."""

    def site(response: Response) -> Response:
        for name, value in {**headers, "Referrer-Policy": "no-referrer"}.items():
            response.headers.setdefault(name, value)
        if rebuilt:  # as some extensions do
            return Response(response.get_data(), response.status, response.headers)
        return response

    if first:
        app.after_request(site)
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    if not first:
        app.after_request(site)
    answer = app.test_client().get("/bokeh/x")
    assert answer.headers.get(POLICY_HEADER) == policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    other = app.test_client().get("/bokeh/x/metadata")
    assert other.headers.get(POLICY_HEADER) == headers.get(POLICY_HEADER)


@pytest.mark.parametrize("first", [True, False])
def test_pages_keep_the_policy_of_talisman(app: Flask, bokeh: FlaskBokeh, first: bool) -> None:
    """Pages of applications have Flask-Talisman's whole policy, and frame-ancestors."""
    flask_talisman = pytest.importorskip("flask_talisman")

    def talisman() -> None:
        flask_talisman.Talisman(app, force_https=False, content_security_policy={"img-src": "*"})

    if first:
        talisman()
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    if not first:
        talisman()
    answer = app.test_client().get("/bokeh/x")
    assert answer.headers.getlist(POLICY_HEADER) == ["img-src *; frame-ancestors 'self'"]


def test_templates_have_no_inline_handlers() -> None:
    """Templates have no on... attribute, no javascript: URL and no eval()."""
    for path in (ROOT / "templates" / "flask_bokeh").iterdir():
        text = path.read_text()
        assert not re.search(r"<[^>]*\son\w+\s*=|javascript:", text), path
        assert not re.search(r"\beval\(|new Function\(|setTimeout\(['\"]", text), path
