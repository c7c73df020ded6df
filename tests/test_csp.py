"""Pages under a strict Content-Security-Policy, in a real browser."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from flask_bokeh import FlaskBokeh

from .conftest import ROOT, Live, Tab

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
    """BOKEH_CSP_NONCE is called in the request; every tag gets its value, escaped."""
    bokeh.add_application("/x", lambda doc: None, page=True)
    app.config["BOKEH_CSP_NONCE"] = lambda: 'a"b'
    bokeh.init_app(app)
    with app.test_request_context():
        html = str(bokeh.server_document("/x"))
    page = app.test_client().get("/bokeh/x").text
    for text, kinds in ((html, "script|link|style"), (page, "script|link")):  # Bokeh's own style
        tags = re.findall(rf"<(?:{kinds})\b[^>]*", text)
        assert len(tags) >= 3
        assert all(re.search(r'nonce="a(&#34;|&quot;)b"', tag) for tag in tags), tags


def test_no_inline_handlers() -> None:
    """Nothing that we render has an on... attribute or a javascript: URL."""
    for path in (ROOT / "templates" / "flask_bokeh").iterdir():
        text = path.read_text()
        assert not re.search(r"<[^>]*\son\w+\s*=|javascript:", text), path
        assert not re.search(r"\beval\(|new Function\(|setTimeout\(['\"]", text), path
