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


@pytest.mark.parametrize("resources", ["server", "inline"])
@pytest.mark.parametrize("page", ["/show/open", "/mine", "/bokeh/page"])
def test_a_strict_policy(live: Live, tab: Tab, page: str, resources: str) -> None:
    """With script-src 'nonce-...' 'strict-dynamic' plots show and live, without a violation."""
    site = live("gunicorn-gthread", APP, config={"POLICY": POLICY, "BOKEH_RESOURCES": resources})
    tab.page.add_init_script(
        "document.addEventListener('securitypolicyviolation', "
        "e => console.error(`violation of ${e.violatedDirective}: ${e.blockedURI}`))"
    )
    answer = tab.page.goto(site.url + page)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert re.search(r"script-src 'strict-dynamic' 'nonce-[\w-]{20,}'", policy), policy
    tab.open(site.url + page)
    tab.move_slider()
    tab.until_title("k=2")


@pytest.mark.parametrize("page", ["/show/open", "/mine", "/bokeh/page"])
def test_a_policy_without_a_nonce(live: Live, tab: Tab, page: str) -> None:
    """With script-src 'self' plots show and live: a page of ours has no inline code."""
    policy = {**POLICY, "script-src": "'self'"}
    site = live("gunicorn-gthread", APP, config={"POLICY": policy, "NONCE_IN": []})
    answer = tab.page.goto(site.url + page)
    assert answer is not None
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    tab.open(site.url + page)
    tab.move_slider()
    tab.until_title("k=2")


def test_without_the_nonce_it_is_refused(live: Live, tab: Tab) -> None:
    """The policy of these tests does refuse what has no nonce."""
    site = live("gunicorn-gthread", APP, config={"POLICY": POLICY})
    tab.page.goto(f"{site.url}/show/open")
    tab.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"window.hit = 1\">')"
    )
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("window.hit") is None
    assert any("Content Security Policy" in line for line in tab.trouble)
    tab.forgive("Content Security Policy", "x:")


def test_a_callable_of_ones_own(app: Flask, bokeh: FlaskBokeh) -> None:
    """BOKEH_CSP_NONCE is called in the request; every tag that needs it has its value, escaped."""
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
        (  # two policies, each of which holds
            {POLICY_HEADER: "img-src *, default-src 'self'"},
            "img-src *, default-src 'self'; frame-ancestors 'self'",
        ),
        (  # the site's own word
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
def test_the_sites_own_policy(
    app: Flask,
    bokeh: FlaskBokeh,
    headers: dict[str, str],
    policy: str | None,
    first: bool,
    rebuilt: bool,
) -> None:
    """Our pages have the whole policy of the site, and frame-ancestors."""

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
def test_talismans_policy(app: Flask, bokeh: FlaskBokeh, first: bool) -> None:
    """Flask-Talisman's policy is whole on our pages, and they are framed by nobody else."""
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


def test_no_inline_handlers() -> None:
    """Nothing that we render has an on... attribute or a javascript: URL."""
    for path in (ROOT / "templates" / "flask_bokeh").iterdir():
        text = path.read_text()
        assert not re.search(r"<[^>]*\son\w+\s*=|javascript:", text), path
        assert not re.search(r"\beval\(|new Function\(|setTimeout\(['\"]", text), path
