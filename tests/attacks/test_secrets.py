"""Response headers, and secrets in logs and responses."""

from __future__ import annotations

import base64

from ..support.forgeries import BAD_TOKENS, ISSUER, KEY, SECRET
from ..support.html import tokens_in
from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


def test_own_responses_have_security_headers(site: LiveServer, visitor: Visitor) -> None:
    """The extension's responses forbid MIME sniffing, caching of tokens and foreign frames."""
    page = visitor.get("/bokeh/page")
    script = visitor.get("/bokeh/page/autoload.js?bokeh-autoload-element=e")
    state = visitor.get("/bokeh/open/ws", Bokeh_Session_Token=visitor.token())
    for answer in (page, script, state, visitor.get("/show/open")):
        assert answer.headers["Cache-Control"] == "no-store"
    static = visitor.get("/bokeh/static/js/bokeh.min.js")
    for answer in (page, script, state, static, visitor.get("/bokeh/nothing/ws")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_secrets_are_in_neither_log_nor_responses(live: Live) -> None:
    """No token, key, cookie or session ID is in the log or in responses to refused clients."""
    site = live("gunicorn-gthread", APP, clean=False)
    visitor = Visitor(site).log_in("ann")
    anonymous = Visitor(site)
    pages = [visitor.get("/show/open").text, anonymous.get("/show/open").text]
    tokens = [*tokens_in("".join(pages)), visitor.token("/mine")]
    answers = [visitor.get("/bokeh/open/ws", Bokeh_Session_Token=token).text for token in tokens]
    with visitor.upgrade(tokens[0]), anonymous.upgrade(tokens[1]):
        pass
    visitor.upgrade(tokens[2], "/other").close()
    for bad in BAD_TOKENS.values():
        text = bad(anonymous)
        tokens.append(text)
        with anonymous.upgrade(text) as upgraded:
            answers.append(upgraded.sock.recv(65536).decode("latin-1"))
    visitor.get("/close/ann")
    site.stop()
    cookies = [str(cookie.value) for one in (visitor, anonymous) for cookie in one.jar]
    disclosed = site.log + "".join(answers)
    keys = [SECRET, KEY.hex(), base64.b64encode(KEY).decode()]
    ids = [ISSUER.read(token).visit.session_id for token in tokens[:3]]
    assert not any(secret in page for page in pages for secret in (*cookies, *keys))
    for secret in (*tokens, *ids, *cookies, *keys):
        assert len(secret) < 12 or secret not in disclosed
        assert len(secret) < 30 or secret[:30] not in disclosed
