"""Tokens and cookies of another application, user or browser."""

from __future__ import annotations

import json
import time

from ..support.forgeries import ISSUER
from ..support.html import tokens_in
from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor
from ..support.waiting import eventually

APP = "tests.live_apps.guarded:create_app()"


def test_token_of_another_application_is_refused(visitor: Visitor) -> None:
    """A token opens only the application that it was issued for."""
    token = visitor.token("/show/open")
    assert visitor.status(token, "/other") == 403
    assert visitor.status(token, "/page") == 403
    assert visitor.status(token, "/nothing") == 404
    assert visitor.status(token) == 101


def test_token_of_another_user_is_refused(site: LiveServer) -> None:
    """A token is accepted only from the user who requested the page."""
    ann, bob, anonymous = (Visitor(site) for _ in range(3))
    token = ann.log_in("ann").token()
    assert bob.log_in("bob").status(token) == 403
    assert anonymous.status(token) == 403
    assert ann.status(token) == 101
    assert Visitor(site).log_in("ann").status(token) == 101  # herself, in another browser
    for state, principal in ((204, ann), (403, bob), (403, anonymous)):
        assert principal.get("/bokeh/open/ws", Bokeh_Session_Token=token).status == state


def test_token_of_another_browser_is_refused(site: LiveServer) -> None:
    """An anonymous visitor's token requires the HttpOnly, SameSite=Lax cookie of that browser."""
    one, other = Visitor(site), Visitor(site)
    answer = one.get("/show/open")
    (token,) = tokens_in(answer.text)
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert other.status(token) == 403  # without a cookie
    other.token()
    assert other.status(token) == 403  # with its own cookie
    assert one.status(token, Cookie=None) == 403
    assert one.status(token) == 101
    assert "Set-Cookie" not in one.get("/show/open").headers
    assert "Set-Cookie" not in Visitor(site).get("/plain").headers
    secure = Visitor(site).get("/show/open", X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert "Secure" in secure


def test_forged_cookie_is_refused(site: LiveServer) -> None:
    """A browser cookie without a valid signature is refused."""
    one = Visitor(site)
    token = one.token()
    name, _, value = one.cookies.partition("=")
    other = ("Y" if value[0] == "X" else "X") + value[1:]
    for forged in (value.split(".")[0], f"{value.split('.')[0]}.{'A' * 27}", other):
        assert one.status(token, Cookie=f"{name}={forged}") == 403
    assert one.status(token, Cookie=f"{name}={value}") == 101


def test_extra_cookies_neither_lock_out_nor_admit(site: LiveServer) -> None:
    """Extra cookies of the same name neither lock a visitor out nor admit another."""
    one, other = Visitor(site), Visitor(site)
    token, others = one.token(), other.token()
    good, bad = one.cookies, other.cookies.partition("=")[0] + "=bad.signature"
    for cookies in (
        f"{bad}; {good}",
        f"{good}; {bad}",
        f"{other.cookies}; {good}",  # one that is valid, but another browser's
        f"{good}; {other.cookies}",
    ):
        assert one.status(token, Cookie=cookies) == 101
        # The token of a page from then stays valid when the other cookies are not sent.
        page = Visitor(site).get("/show/open", Cookie=cookies)
        assert "Set-Cookie" not in page.headers
        (later,) = tokens_in(page.text)
        last = cookies.rpartition("; ")[2]
        assert one.status(later, Cookie=good if last == bad else last) == 101
    assert one.status(token, Cookie=f"{bad}; {other.cookies}") == 403
    assert other.status(others, Cookie=f"{bad}; {good}") == 403


def test_bearer_tokens_are_short_lived(live: Live) -> None:
    """Tokens that are not bound to a browser open new sessions for a short time only."""
    config = {"BOKEH_BIND_BROWSER": False, "BOKEH_TOKEN_EXPIRATION": 3}
    site = live("gunicorn-sync", APP, config=config, clean=False)
    visitor, other = Visitor(site), Visitor(site)
    token, unused = visitor.token(), visitor.token()
    assert visitor.cookies == ""
    with other.upgrade(token) as upgraded:
        assert upgraded.status == 101
        eventually(lambda: json.loads(visitor.get("/stats").text)["sessions"] == 1, "its session")
        issued = ISSUER.read(unused).issued_at
        eventually(lambda: time.time() - issued > 3, "the token to expire")
        assert visitor.status(unused) == 403
        assert visitor.status(token) == 101  # its session still exists
