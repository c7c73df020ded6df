"""Who may see what: attacks on a live gunicorn, each with the status it must get.

``docs/security-report.md`` says what each check is for, and that each case fails without it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from playwright.sync_api import WebSocketRoute

from flask_bokeh.security.keys import derive_key
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.tokens import TokenIssuer

from .conftest import Live, LiveServer, Tab, eventually, tokens_in
from .visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"
SECRET = "a secret key for the tests only"
KEY = derive_key(SECRET)
ISSUER = TokenIssuer(keys=(KEY,), expiration=300, max_age=86_400, max_arguments_size=2048)


@pytest.fixture(scope="module")
def site() -> Iterator[LiveServer]:
    """Refusals are logged, so the log is not clean; but it holds no traceback."""
    server = LiveServer("gunicorn-gthread", APP, {"PROXIES": True}, [])
    yield server
    server.stop()
    assert "Traceback" not in server.log


@pytest.fixture
def visitor(site: LiveServer) -> Visitor:
    return Visitor(site)


# --- where the page is from --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://example.org:8080", 101),
        ("HTTP://EXAMPLE.ORG:8080", 101),
        ("http://example.org", 403),  # another port
        ("http://example.org:8081", 403),
        ("https://example.org:8080", 403),  # another scheme
        ("ws://example.org:8080", 403),
        ("file://example.org:8080", 403),
        ("http://evilexample.org:8080", 403),  # ours is a suffix
        ("http://sub.example.org:8080", 403),
        ("http://example.org.evil.com:8080", 403),  # ours is a prefix
        ("http://example.org:8080.evil.com", 403),
        ("http://example.org:80800", 403),
        ("http://evil.com/example.org:8080", 403),
        ("http://evil.com#example.org:8080", 403),
        ("http://evil.com?http://example.org:8080", 403),
        ("http://example.org:8080@evil.com", 403),  # user information
        ("http://evil@example.org:8080", 403),
        ("http://[::1]:8080", 403),
        ("http://[::ffff:127.0.0.1]:8080", 403),
        ("http://127.0.0.1:8080", 403),
        ("http://example.org.:8080", 403),  # a trailing dot
        ("http://xn--exmple-cua.org:8080", 403),  # punycode
        ("http://ex\xe4mple.org:8080", 403),
        ("http://example.org:8080/", 403),
        ("http://example.org:8080 http://evil.com", 403),
        ("http://evil.com, http://example.org:8080", 403),
        ("http:///example.org:8080", 403),
        ("example.org:8080", 403),
        ("null", 403),
        ("*", 403),
        ("", 403),
        (None, 403),  # missing
    ],
)
def test_origins(visitor: Visitor, origin: str | None, status: int) -> None:
    """Scheme, host and port of the page are those of the request, or the WebSocket is refused."""
    token = visitor.token()
    assert visitor.status(token, Host="example.org:8080", Origin=origin) == status


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("[::1]:8080", "http://[::1]:8080", 101),
        ("[::1]:8080", "http://[::2]:8080", 403),
        ("[::1]:8080", "http://[::1]", 403),
        ("example.org", "http://example.org:80", 101),
        ("example.org:80", "http://example.org", 101),
        ("example.org:443", "https://example.org", 403),
        ("xn--exmple-cua.org", "http://xn--exmple-cua.org", 101),
        ("xn--exmple-cua.org", "http://example.org", 403),
        ("example.org.", "http://example.org", 403),
        ("evil.com/", "http://evil.com", 403),
        ("", "http://evil.com", 403),
    ],
)
def test_hosts(visitor: Visitor, host: str, origin: str, status: int) -> None:
    """IPv6, default ports and punycode are compared as what they are."""
    token = visitor.token()
    assert visitor.status(token, Host=host, Origin=origin) in ({status, 400} - {status == 101})


@pytest.mark.parametrize(
    ("forwarded", "proto", "origin", "status"),
    [
        ("shop.example", "https", "https://shop.example", 101),
        ("evil.com, shop.example", "https", "https://shop.example", 101),
        ("evil.com, shop.example", "https", "https://evil.com", 403),  # the client's own, first
        ("shop.example", "https", "http://shop.example", 403),
        ("shop.example", "http, https", "https://shop.example", 101),
        ("shop.example", "https, http", "https://shop.example", 403),
    ],
)
def test_behind_a_proxy(
    visitor: Visitor, forwarded: str, proto: str, origin: str, status: int
) -> None:
    """Behind ProxyFix the outer scheme and host count, as the last proxy has written them."""
    token = visitor.token()
    headers = {"X_Forwarded_Host": forwarded, "X_Forwarded_Proto": proto}
    assert visitor.status(token, Origin=origin, **headers) == status


def test_a_forwarded_host_without_a_proxy(live: Live) -> None:
    """Without ProxyFix a client's X-Forwarded-Host says nothing."""
    visitor = Visitor(live("gunicorn-sync", APP, clean=False))
    token = visitor.token()
    for header in ("X_Forwarded_Host", "X_Forwarded_Server", "Forwarded", "X_Original_Host"):
        value = "host=evil.com" if header == "Forwarded" else "evil.com"
        assert visitor.status(token, Origin="http://evil.com", **{header: value}) == 403
    assert visitor.status(token) == 101


def test_a_list_of_origins(live: Live) -> None:
    """Other sites may connect if they are listed, whole; and who sends none, if that is set."""
    config = {
        "BOKEH_ALLOW_WS_ORIGIN": ["https://partner.example"],
        "BOKEH_ALLOW_MISSING_ORIGIN": True,
    }
    visitor = Visitor(live("gunicorn-sync", APP, config=config, clean=False))
    token = visitor.token()
    for origin, status in [
        ("https://partner.example", 101),
        (None, 101),
        ("http://partner.example", 403),
        ("https://sub.partner.example", 403),
        ("https://partner.example:8443", 403),
        ("https://partner.example.evil.com", 403),
        ("null", 403),
    ]:
        assert visitor.status(token, Origin=origin) == status, origin


def test_trusted_hosts(live: Live) -> None:
    """A Host that is not among TRUSTED_HOSTS gets a 400, so a rebound name (DNS) opens nothing."""
    config = {"TRUSTED_HOSTS": ["127.0.0.1", ".example.org"]}
    visitor = Visitor(live("gunicorn-sync", APP, config=config, clean=False))
    token = visitor.token()
    for host, status in [
        (visitor.site.address, 101),
        ("plots.example.org", 101),
        ("evil.com", 400),
        ("example.org.evil.com", 400),
    ]:
        assert visitor.status(token, Host=host, Origin=f"http://{host}") == status
    assert visitor.get("/bokeh/page", Host="evil.com").status == 400
    assert visitor.get("/bokeh/static/js/bokeh.min.js", Host="evil.com").status == 400


# --- whose the token is -------------------------------------------------------------------------


def of(visitor: Visitor, **changes: object) -> str:
    """A token that only who has the key can make, like the visitor's but for some changes."""
    known = ISSUER.read(visitor.token())
    values = {
        "session_id": known.visit.session_id,
        "secret_key": KEY,
        "signed": True,
        "extra_payload": {
            "arguments": {},
            "flask_bokeh": {
                "path": "/open",
                "user": None,
                "issued": known.issued_at,
                "bound": known.subject,
            },
        },
        **changes,
    }
    return generate_jwt_token(**values)  # type: ignore[arg-type]


def resigned(body: bytes) -> str:
    """Anything, with a good signature."""
    import hashlib
    import hmac

    base = base64.urlsafe_b64encode(body).decode().rstrip("=")
    signature = hmac.new(KEY, base.encode(), hashlib.sha256).digest()
    return f"{base}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def zipped(data: bytes) -> bytes:
    squeezed = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return json.dumps(
        {"session_id": generate_session_id(KEY, True), "__bk__zlib_": squeezed}
    ).encode()


def with_issued(visitor: Visitor, issued: float) -> str:
    known = ISSUER.read(visitor.token())
    ours = {"path": "/open", "user": None, "issued": issued, "bound": known.subject}
    return of(visitor, extra_payload={"arguments": {}, "flask_bokeh": ours})


def changed(visitor: Visitor, name: str, values: dict[str, object]) -> str:
    """A token with something else in it, packed as Bokeh packs it, under the signature it had."""
    text = visitor.token("/show/open?owner=x")
    known = ISSUER.read(text)
    ours = {"path": "/open", "user": None, "issued": known.issued_at, "bound": known.subject}
    payload = {"arguments": {"owner": ["x"]}, "flask_bokeh": ours}
    payload[name] = {**payload[name], **values}  # type: ignore[dict-item]
    other = of(visitor, session_id=known.visit.session_id, extra_payload=payload)
    return f"{other.split('.')[0]}.{text.split('.')[1]}"


def swapped(visitor: Visitor) -> str:
    """The session of one token in the body of another."""
    body, signature = visitor.token().split(".")
    other = ISSUER.read(visitor.token()).visit.session_id
    data = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    data["session_id"] = other
    changed = base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    return f"{changed}.{signature}"


BAD_TOKENS = {
    "unsigned": lambda v: generate_jwt_token(generate_session_id(None, False), None, False),
    "unsigned, ours inside": lambda v: of(v, signed=False),
    "only a body": lambda v: v.token().split(".")[0],
    "another key": lambda v: of(v, secret_key=b"another key entirely"),
    "the site's own key": lambda v: of(v, secret_key=SECRET.encode()),
    "an empty key": lambda v: of(v, secret_key=b""),
    "another session id": swapped,
    "an id signed with another key": lambda v: of(
        v, session_id=generate_session_id(b"another key", True)
    ),
    "an id that somebody chose": lambda v: of(v, session_id="chosen"),
    "not minted by us": lambda v: generate_jwt_token(generate_session_id(KEY, True), KEY, True),
    "too old": lambda v: with_issued(v, time.time() - 86_500),
    "of no time": lambda v: with_issued(v, float("nan")),
    "a text for its time": lambda v: with_issued(v, "soon"),  # type: ignore[arg-type]
    "a changed argument": lambda v: changed(v, "arguments", {"owner": ["bob"]}),
    "a changed user": lambda v: changed(v, "flask_bokeh", {"path": "/open", "user": "bob"}),
    "a changed letter": lambda v: re.sub(r"^(.{40}).", r"\1A", v.token("/show/open?owner=x")),
    "a truncated zlib stream": lambda v: resigned(zipped(zlib.compress(b"{}" * 99)[:-9])),
    "a zip bomb": lambda v: resigned(zipped(zlib.compress(b"0" * 10**6)))[:-3] + "AAA",
    "no JSON": lambda v: resigned(b"no JSON"),
    "not UTF-8": lambda v: resigned(b"\xff\xfe\x00"),
    "bytes that are not UTF-8": lambda v: "\xff\xfe.\xff",
    "deep JSON": lambda v: resigned(b"[" * 4000),
    "empty": lambda v: "",
    "a dot": lambda v: ".",
    "two": lambda v: f"{v.token()}, {v.token()}",
    "a session id for a token": lambda v: ISSUER.read(v.token()).visit.session_id,
    "of a session that lives elsewhere": lambda v: of(
        v,
        extra_payload={
            "arguments": {},
            "flask_bokeh": {
                "path": "/other",
                "user": None,
                "issued": time.time(),
                "worker": "../../../tmp/x",
            },
        },
    ),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_tokens(visitor: Visitor, name: str) -> None:
    """What is not a token of ours, of this application and of this visitor, opens nothing."""
    assert visitor.status(BAD_TOKENS[name](visitor)) == 403


def test_good_tokens(visitor: Visitor) -> None:
    """The helper that makes bad tokens makes a good one, if it changes nothing."""
    assert visitor.status(of(visitor)) == 101
    assert visitor.status(with_issued(visitor, time.time() - 86_000)) == 101


def test_a_token_that_is_too_long(visitor: Visitor) -> None:
    """gunicorn lets a header of nearly 8 KB pass; a token of ours is never as long."""
    known = ISSUER.read(visitor.token())
    for size, status in ((100, 101), (7000, 101), (7260, 403)):
        ours = {"path": "/open", "user": None, "issued": known.issued_at, "bound": known.subject}
        ours["data"] = {"x": secrets.token_hex(size // 2)}
        text = of(visitor, extra_payload={"arguments": {}, "flask_bokeh": ours})
        assert len(text) < 8100
        assert visitor.status(text) == status, len(text)


def test_a_megabyte(visitor: Visitor) -> None:
    """gunicorn refuses a header of 1 MB, or hangs up, and the site lives on."""
    assert visitor.status("a" * 2**20 + "." + "b" * 43) in (0, 400, 431)
    assert visitor.status(visitor.token()) == 101


@pytest.mark.parametrize(
    "protocol",
    [
        None,
        "bokeh",
        "bokeh,",
        "{token}",
        "{token}, bokeh",
        "bokeh, {token}, {token}",
        "other, {token}",
        "bokeh {token}",
    ],
)
def test_subprotocols(visitor: Visitor, protocol: str | None) -> None:
    """A token is the second of exactly two subprotocols."""
    offered = None if protocol is None else protocol.format(token=visitor.token())
    assert visitor.status("", Sec_WebSocket_Protocol=offered) == 403


def test_a_token_in_the_address(visitor: Visitor) -> None:
    """Bokeh's own ways to name a session are none of ours: page, script and metadata say no."""
    token = visitor.token("/show/open")
    session_id = ISSUER.read(token).visit.session_id
    for suffix in ("", "/autoload.js", "/metadata"):
        address = f"/bokeh/page{suffix}"
        for query in (
            f"bokeh-token={token}",
            f"bokeh-session-id={session_id}",
            "bokeh-session-id=chosen",
            f"bokeh-token={token}&bokeh-session-id={session_id}",
        ):
            asked = visitor.get(f"{address}?bokeh-autoload-element=e&{query}")
            assert asked.status == 403
        assert visitor.get(address, Bokeh_Session_Id=session_id).status == 403
    query = {"Sec_WebSocket_Protocol": "bokeh"}
    assert visitor.status(token, path=f"/open/ws?bokeh-token={token}&x=", **query) in (403, 404)


def test_of_another_application(visitor: Visitor) -> None:
    """A token opens its own application."""
    token = visitor.token("/show/open")
    assert visitor.status(token, "/other") == 403
    assert visitor.status(token, "/page") == 403
    assert visitor.status(token, "/nothing") == 404
    assert visitor.status(token) == 101


def test_of_another_user(site: LiveServer) -> None:
    """The user who asks for the WebSocket is the one who asked for the page."""
    ann, bob, nobody = (Visitor(site) for _ in range(3))
    token = ann.log_in("ann").token()
    assert bob.log_in("bob").status(token) == 403
    assert nobody.status(token) == 403
    assert ann.status(token) == 101
    assert Visitor(site).log_in("ann").status(token) == 101  # herself, in another browser
    for state, principal in ((204, ann), (403, bob), (403, nobody)):
        assert principal.get("/bokeh/open/ws", Bokeh_Session_Token=token).status == state


def test_of_another_browser(site: LiveServer) -> None:
    """A visitor without a user is known by a cookie, which no script and no other site gets."""
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
    assert other.status(token) == 403  # with one of its own
    assert one.status(token, Cookie=None) == 403
    assert one.status(token) == 101
    assert "Set-Cookie" not in one.get("/show/open").headers
    assert "Set-Cookie" not in Visitor(site).get("/plain").headers
    secure = Visitor(site).get("/show/open", X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert "Secure" in secure


def test_a_forged_cookie(site: LiveServer) -> None:
    """Nobody makes the cookie of a browser but us."""
    one = Visitor(site)
    token = one.token()
    name, _, value = one.cookies.partition("=")
    other = ("Y" if value[0] == "X" else "X") + value[1:]
    for forged in (value.split(".")[0], f"{value.split('.')[0]}.{'A' * 27}", other):
        assert one.status(token, Cookie=f"{name}={forged}") == 403
    assert one.status(token, Cookie=f"{name}={value}") == 101


def test_more_than_one_cookie(site: LiveServer) -> None:
    """Cookies of its name that another site of the host adds lock nobody out, let nobody in."""
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
        # A page of then is good when the others have gone, or where they are not sent.
        page = Visitor(site).get("/show/open", Cookie=cookies)
        assert "Set-Cookie" not in page.headers
        (later,) = tokens_in(page.text)
        last = cookies.rpartition("; ")[2]
        assert one.status(later, Cookie=good if last == bad else last) == 101
    assert one.status(token, Cookie=f"{bad}; {other.cookies}") == 403
    assert other.status(others, Cookie=f"{bad}; {good}") == 403


def test_before_and_after_login(site: LiveServer) -> None:
    """A login, a logout and a login as somebody else each end the use of a page's token."""
    visitor = Visitor(site)
    before = visitor.token()
    assert visitor.status(before) == 101
    visitor.log_in("ann")
    assert visitor.status(before) == 403
    token = visitor.token()
    assert visitor.status(token) == 101
    visitor.get("/logout")
    assert visitor.status(token) == 403
    visitor.log_in("bob")
    assert visitor.status(token) == 403
    visitor.get("/logout")
    visitor.log_in("ann")
    assert visitor.status(token) == 410  # what she had before her logout
    assert visitor.status(visitor.token()) == 101


def test_a_logout_before_any_plot(live: Live) -> None:
    """It counts in workers whose Bokeh server does not run yet, and in those that start later."""
    site = live("gunicorn-sync", APP, args=["-w", "3"])
    visitor = Visitor(site).log_in("ann")
    token = visitor.token()
    visitor.get("/logout")
    visitor.log_in("ann")
    assert [visitor.status(token) for _ in range(9)] == [410] * 9
    before = {json.loads(visitor.get("/stats").text)["pid"] for _ in range(20)}
    site.process.send_signal(signal.SIGHUP)
    eventually(lambda: json.loads(visitor.get("/stats").text)["pid"] not in before, "new workers")
    assert [visitor.status(token) for _ in range(9)] == [410] * 9
    assert visitor.status(visitor.token()) == 101


def test_bearer_tokens_are_short_lived(live: Live) -> None:
    """Where browsers are not told apart, a token opens a session for a short time only."""
    config = {"BOKEH_BIND_BROWSER": False, "BOKEH_TOKEN_EXPIRATION": 1}
    site = live("gunicorn-sync", APP, config=config, clean=False)
    visitor, other = Visitor(site), Visitor(site)
    token, unused = visitor.token(), visitor.token()
    assert visitor.cookies == ""
    with other.upgrade(token) as upgraded:
        assert upgraded.status == 101
        issued = ISSUER.read(unused).issued
        eventually(lambda: time.time() - issued > 1, "the token to expire", 5)
        assert visitor.status(unused) == 403
        assert visitor.status(token) == 101  # to a session that lives


# --- what the site itself checks -------------------------------------------------------------


def test_a_guard_that_wants_a_login(site: LiveServer) -> None:
    """login_required under a guard: pages and upgrades go to the login page, before any 101."""
    nobody, ann = Visitor(site), Visitor(site).log_in("ann")
    refused = nobody.get("/show/private")
    assert (refused.status, refused.headers["Location"].split("?")[0]) == (302, "/login")
    token = ann.token("/show/private")
    assert ann.status(token, "/private") == 101
    ann.get("/logout")
    with ann.upgrade(token, "/private") as upgraded:
        assert upgraded.status in (302, 403)
        assert "101" not in upgraded.head


def test_a_role_that_changes(site: LiveServer) -> None:
    """A guard is asked at the page and at each WebSocket; an open one ends when it is told."""
    nobody, ann = Visitor(site), Visitor(site).log_in("ann")
    assert nobody.get("/show/admin").status == 401
    assert ann.get("/show/admin").status == 403
    ann.get("/role/ann/admin")
    token = ann.token("/show/admin")
    with ann.upgrade(token, "/admin") as upgraded:
        assert upgraded.status == 101
        ann.get("/role/ann/nothing")
        assert ann.status(token, "/admin") == 403
        assert ann.get("/bokeh/admin/ws", Bokeh_Session_Token=token).status == 403
        assert upgraded.alive
        assert int(ann.get("/close/ann").text) >= 1
        assert upgraded.close_code() == 1008
    ann.get("/role/ann/admin")
    assert ann.status(token, "/admin") == 410
    assert ann.status(ann.token("/show/admin"), "/admin") == 101


def test_a_guard_that_reads_the_visit(site: LiveServer) -> None:
    """A guard may look at what is asked for, and answer with a response of its own."""
    ann = Visitor(site).log_in("ann")
    assert ann.get("/show/owned?owner=ann").status == 200
    refused = ann.get("/show/owned?owner=bob")
    assert (refused.status, refused.headers["Location"]) == (302, "/login/nobody")


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/bokeh/others/static/../secret.txt",
        "/bokeh/others/static/%2e%2e/secret.txt",
        "/bokeh/others/static/..%2fsecret.txt",
        "/bokeh/others/static/..%5csecret.txt",
        "/bokeh/others/static/%252e%252e%252fsecret.txt",
        "/bokeh/others/static/%c0%ae%c0%ae/secret.txt",
        "/bokeh/others/static/....//secret.txt",
        "/bokeh/others/static//secret.txt",
        "/bokeh/others/static/./../main.py",
        "/bokeh/others/static/../../files/static/own.txt",
        "/bokeh/others/static/..%2f..%2ffiles%2fstatic%2fown.txt",
        "/bokeh/others/../files/static/own.txt",
        "/bokeh/others%2f..%2ffiles/static/own.txt",
        "/bokeh/others/static/own.txt%00.js",
        "/bokeh/others/static/%00",
        "/bokeh/static/../../../pyproject.toml",
        "/bokeh/static/..%2f..%2f..%2fpyproject.toml",
        "/bokeh/static/extensions/..%2f..%2fx/y.js",
        "/bokeh/static//etc/passwd",
        "/bokeh/files/static/own.txt",  # its guard says no
    ],
)
def test_paths(visitor: Visitor, path: str) -> None:
    """No path, however it is written, leads out of an application's static folder."""
    head = f"GET {path} HTTP/1.1\r\nHost: {visitor.site.address}\r\nConnection: close\r\n\r\n"
    with visitor.send(head.encode()) as answer:
        assert answer.status in (308, 400, 403, 404)
        body = answer.sock.recv(65536)
        assert b"not for you" not in body
        assert b"of files" not in body


def test_a_guarded_page(site: LiveServer) -> None:
    """Page, script, metadata and WebSocket of an application ask its guard."""
    nobody, ann = Visitor(site), Visitor(site).log_in("ann")
    script = "autoload.js?bokeh-autoload-element=e"
    for path in ("", "/metadata", f"/{script}"):
        assert nobody.get(f"/bokeh/members{path}").status == 403
        assert ann.get(f"/bokeh/members{path}").status == 200
    (token,) = tokens_in(ann.get("/bokeh/members").text)
    assert ann.status(token, "/members") == 101


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}, 200),  # a link
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "document"}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "iframe"}, 200),
        ({"Sec_Fetch_Site": "none", "Sec_Fetch_Dest": "document"}, 200),
        ({}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "empty"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "frame"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "object"}, 403),
        ({"Sec_Purpose": "prefetch"}, 503),
        ({"Sec_Purpose": "prefetch;prerender", "Sec_Fetch_Site": "same-origin"}, 503),
        ({"Purpose": "prefetch"}, 503),
        ({"X_Moz": "prefetch"}, 503),
    ],
)
def test_what_a_page_is_fetched_for(visitor: Visitor, headers: dict[str, str], status: int) -> None:
    """A page that nobody will see makes no session: fetched, framed elsewhere, or ahead of time."""
    before = json.loads(visitor.get("/stats").text)["reservations"]
    answer = visitor.get("/bokeh/page", **headers)
    assert answer.status == status
    reservations = json.loads(visitor.get("/stats").text)["reservations"]
    assert reservations <= before if status != 200 else True
    assert "BOKEH" not in answer.text or status == 200


def test_scripts_for_other_sites(visitor: Visitor) -> None:
    """A page of another site can't fetch the script of a plot, unless it is on the list."""
    fetched = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "script"}
    script = "/bokeh/page/autoload.js?bokeh-autoload-element=e"
    assert visitor.get(script, **fetched).status == 403
    assert visitor.get(script, **fetched, Origin="https://evil.com").status == 403
    assert visitor.get(script, Sec_Fetch_Site="same-origin").status == 200


def test_a_frame_on_another_site(live: Live, tab: Tab) -> None:
    """What Chromium would not show in a frame of another site makes no session."""
    site = live("gunicorn-gthread", APP, clean=False)
    tab.page.goto(f"{site.url.replace('127.0.0.1', 'localhost')}/plain")
    with tab.page.expect_response("**/bokeh/page") as answered:
        tab.page.evaluate(
            "url => document.body.append(Object.assign(document.createElement('iframe'), "
            "{src: url}))",
            f"{site.url}/bokeh/page",
        )
    assert answered.value.status == 403
    assert stats_of(site)["reservations"] == 0
    site.until_logged("to a frame of another site; see BOKEH_ALLOW_WS_ORIGIN")
    tab.until_message("403")
    tab.forgive("403")


def test_a_frame_on_a_listed_site(live: Live) -> None:
    """The sites of BOKEH_ALLOW_WS_ORIGIN frame the page of an application."""
    there = "https://other.example"
    site = live("gunicorn-sync", APP, config={"BOKEH_ALLOW_WS_ORIGIN": [there]})
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}
    answer = Visitor(site).get("/bokeh/page", **framed)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == f"frame-ancestors 'self' {there}"


def test_a_page_that_is_fetched_ahead(live: Live, tab: Tab) -> None:
    """Chromium's prefetch makes no session, and the page shows when the visitor goes there."""
    site = live("gunicorn-gthread", APP, clean=False)
    tab.page.goto(f"{site.url}/plain")
    with tab.page.expect_response("**/bokeh/page") as answered:
        tab.page.evaluate(
            "document.head.append(Object.assign(document.createElement('link'), "
            "{rel: 'prefetch', href: '/bokeh/page'}))"
        )
    assert answered.value.status == 503
    assert stats_of(site)["reservations"] == 0
    tab.until_message("503")
    tab.forgive("503")
    tab.open(f"{site.url}/bokeh/page")
    tab.move_slider()
    tab.until_title("k=2")


def stats_of(site: LiveServer) -> dict[str, int]:
    return dict(json.loads(Visitor(site).get("/stats").text))


def test_a_script_for_another_site(live: Live) -> None:
    """A page of a listed site gets a token that needs no cookie of ours; it opens a plot there."""
    there = "https://other.example"
    site = live("gunicorn-sync", APP, config={"BOKEH_ALLOW_WS_ORIGIN": [there]}, clean=False)
    script = "/bokeh/page/autoload.js?bokeh-autoload-element=e"
    answer = Visitor(site).get(script, Origin=there, Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == there
    token = re.findall(r"""["']token["']:["']([\w.-]+)["']""", answer.text)[0]
    assert Visitor(site).status(token, "/page", Origin=there) == 101
    evil = Visitor(site).get(script, Origin="https://evil.com", Sec_Fetch_Site="cross-site")
    assert evil.status == 403


def test_a_query_that_is_too_long(visitor: Visitor) -> None:
    """It is the visitor's mistake, not the site's."""
    assert visitor.get(f"/bokeh/page?x={'a' * 3000}").status == 414


def test_an_applications_files_have_its_guard(site: LiveServer) -> None:
    """Whom the guard lets in gets the files, and no shared cache keeps them."""
    ann = Visitor(site).log_in("ann")
    version = hashlib.sha512(b"of files\n").hexdigest()
    answer = ann.get(f"/bokeh/files/static/own.txt?v={version}")
    assert answer.text == "of files\n"
    assert "private" in answer.headers["Cache-Control"]
    assert "public" not in answer.headers["Cache-Control"]
    plain = ann.get("/bokeh/files/static/own.txt").headers["Cache-Control"]
    assert "private" in plain
    assert "public" not in plain
    version = hashlib.sha512(b"of others\n").hexdigest()
    public = ann.get(f"/bokeh/others/static/own.txt?v={version}").headers["Cache-Control"]
    assert "public" in public


# --- the wire ----------------------------------------------------------------------------------


def test_headers_of_our_own_responses(site: LiveServer, visitor: Visitor) -> None:
    """Nothing of ours is sniffed, no token is stored, pages are framed by nobody else."""
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


def test_the_port_inside(site: LiveServer, visitor: Visitor) -> None:
    """Bokeh's own port is on loopback, and answers to signed tokens only."""
    assert visitor.status(visitor.token()) == 101
    pid, port = (json.loads(visitor.get("/stats").text)[name] for name in ("pid", "port"))
    flasks = int(site.address.rpartition(":")[2])
    assert listening(pid) == sorted(f"0100007F:{one:04X}" for one in (port, flasks))
    script = "autoload.js?bokeh-autoload-element=1"
    for path in (
        *("/", "/open", "/page", f"/open/{script}", f"/page/{script}", "/page/metadata"),
        *("/files/static/own.txt", "/others/static/own.txt", "/open/ws", "/page/"),
        *("/dotted.files/static/own.txt", "/dottedXfiles/static/own.txt", "/dottedXfiles/metadata"),
        *("/static/js/bokeh.min.js", "/favicon.ico", "/dottedXfiles/ws"),
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(head.encode())
            answer = sock.recv(100).split(b" ")[1]
        assert answer == (b"403" if path == "/open/ws" else b"404"), path
    unsigned = generate_jwt_token(generate_session_id(signed=False), signed=False)
    for token, opens in (
        (None, False),
        (unsigned, False),
        (BAD_TOKENS["another key"](visitor), False),
        (visitor.token(), True),
    ):
        with inside(visitor, port, token) as sock:
            told = b""
            while not re.search(b"ACK| 403 ", told) and (more := sock.recv(65536)):
                told += more
        assert (b"ACK" in told) == opens, (token, told)


def inside(visitor: Visitor, port: int, token: str | None) -> socket.socket:
    """Ask for a WebSocket on Bokeh's own port."""
    protocol = None if token is None else f"bokeh, {token}"
    head = visitor.head("", Sec_WebSocket_Protocol=protocol).replace(b"/bokeh", b"")
    head = head.replace(visitor.site.address.encode(), f"localhost:{port}".encode())
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.sendall(head)
    return sock


def test_limits_on_the_own_port(live: Live) -> None:
    """Who comes by that port gets no more sessions than by Flask's: refused before its 101."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_MAX_SESSIONS": 3}, clean=False)
    visitor = Visitor(site)
    tokens = [visitor.token() for _ in range(6)]
    assert visitor.status(tokens[0]) == 101  # the server has started
    port = json.loads(visitor.get("/stats").text)["port"]
    with ExitStack() as stack:
        sockets = [stack.enter_context(inside(visitor, port, token)) for token in tokens]
        assert [sock.recv(12)[9:] for sock in sockets] == [b"101"] * 3 + [b"503"] * 3
        eventually(
            lambda: json.loads(visitor.get("/stats").text)["sessions"] == 3, "three sessions"
        )


def listening(pid: int) -> list[str]:
    """Where a process listens on TCP, as /proc writes it."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()]
    rows = [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sorted(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links)


def test_nothing_secret_is_told(live: Live) -> None:
    """No token, key, cookie or session id is in the log, nor in what a refused client is told."""
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
    told = site.log + "".join(answers)
    keys = [SECRET, KEY.hex(), base64.b64encode(KEY).decode()]
    ids = [ISSUER.read(token).visit.session_id for token in tokens[:3]]
    assert not any(secret in page for page in pages for secret in (*cookies, *keys))
    for secret in (*tokens, *ids, *cookies, *keys):
        assert len(secret) < 12 or secret not in told
        assert len(secret) < 30 or secret[:30] not in told


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"BOKEH_MAX_SESSIONS": 5}, "as many plots as it can"),
        ({"BOKEH_MAX_SESSIONS_PER_USER": 5}, "You have as many plots open"),
        ({"BOKEH_MAX_SESSIONS_PER_ADDRESS": 5}, "from your network address"),
        ({"BOKEH_MAX_SESSION_RATE": 5}, "in a short time"),
    ],
)
def test_a_race_for_the_last_place(live: Live, limits: dict[str, int], says: str) -> None:
    """Of 40 who open at once as many get in as may; the others get a 503, and the site lives on."""
    site = live("gunicorn-gthread", APP, config=limits, clean=False)
    visitor = Visitor(site).log_in("ann")
    tokens = [visitor.token() for _ in range(40)]
    together = threading.Barrier(40)

    def open_one(token: str) -> object:
        together.wait(20)
        return visitor.upgrade(token)

    with ExitStack() as stack, ThreadPoolExecutor(40) as pool:
        opened = [stack.enter_context(one) for one in pool.map(open_one, tokens)]  # type: ignore[type-var]
        statuses = sorted(one.status for one in opened)
        assert statuses == [101] * 5 + [503] * 35
        eventually(lambda: json.loads(visitor.get("/stats").text)["sessions"] == 5, "five")
        by_status = dict(zip([one.status for one in opened], tokens, strict=True))
        answer = visitor.get("/bokeh/open/ws", Bokeh_Session_Token=by_status[503])
        assert answer.status == 503
        assert says in answer.text
        page = visitor.get("/mine")
        assert page.status == 503
        assert says in page.text
        assert visitor.get("/bokeh/page").status == 503
        assert visitor.get("/plain").text == "plain"
        assert json.loads(visitor.get("/stats").text)["sessions"] == 5
        # Who has a place may come back to it.
        assert visitor.status(by_status[101]) == 101
    site.until_logged(f"{next(iter(limits))} is 5")


def test_places_come_back(live: Live) -> None:
    """A session that ends gives its place to the next; a refused upgrade keeps none.

    These clients leave before their session is there, which Bokeh sees at its next ping.
    """
    config = {
        "BOKEH_MAX_SESSIONS": 2,
        "BOKEH_UNUSED_SESSION_LIFETIME": 0.5,
        "BOKEH_SERVER_OPTIONS": {"keep_alive_milliseconds": 500},
    }
    site = live("gunicorn-sync", APP, config=config, clean=False)
    visitor = Visitor(site)
    tokens = [visitor.token() for _ in range(8)]
    for token in tokens[:4]:
        with visitor.send(visitor.head(token) + b"early") as refused:  # 400, after the checks
            assert refused.status == 400
    for token in tokens[4:6]:
        assert visitor.status(token) == 101
    eventually(lambda: visitor.status(tokens[6]) == 101, "a place", 10)


# --- the end of sessions -----------------------------------------------------------------------


def test_a_logout_ends_everything_everywhere(live: Live) -> None:
    """All sessions of who logs out end, in every worker, and nobody else's."""
    config = {"BOKEH_SECRET_KEY": secrets.token_hex(16)}
    site = live("gunicorn-gthread", APP, config=config, clean=False, args=["--workers", "3"])
    ann, bob = (Visitor(site).log_in(name) for name in ("ann", "bob"))
    with ExitStack() as stack:

        def open_all(visitor: Visitor, page: str, path: str, count: int) -> list:  # type: ignore[type-arg]
            opened = [visitor.upgrade(visitor.token(page), path) for _ in range(count)]
            assert [one.status for one in opened] == [101] * count
            return [stack.enter_context(one) for one in opened]

        hers = open_all(ann, "/show/open", "/open", 12) + open_all(ann, "/mine", "/other", 4)
        for_her = open_all(bob, "/for/ann", "/other", 2)
        his = open_all(bob, "/show/open", "/open", 6)
        pids: set[int] = set()

        def all_three() -> bool:
            pids.add(json.loads(bob.get("/stats").text)["pid"])
            return len(pids) == 3

        eventually(all_three, "the third worker")
        assert ann.get("/logout").text == "out"
        assert [one.close_code() for one in hers + for_her] == [1008] * 18
        assert all(one.alive for one in his)
        assert bob.get("/close/nobody").text == "0"
        assert int(bob.get("/close/bob").text) == 6
        assert [one.close_code() for one in his] == [1008] * 6


@pytest.mark.parametrize(
    "kind", ["flask-bokeh-run", "werkzeug", "gunicorn-gevent", "gunicorn-sync"]
)
def test_a_logout_on_other_servers(live: Live, kind: str) -> None:
    """Whatever the server does when a response ends, the user's sessions end with it."""
    visitor = Visitor(live(kind, APP, clean=False)).log_in("ann")
    with visitor.upgrade(visitor.token()) as upgraded:
        assert upgraded.status == 101
        visitor.get("/logout")
        assert upgraded.close_code() == 1008
    assert "outlive" not in visitor.site.log


def test_a_slow_head(live: Live) -> None:
    """A head that comes a byte at a time stops nobody else, and opens what it may."""
    site = live("gunicorn-gthread", APP, clean=False)
    visitor = Visitor(site)
    head = visitor.head(visitor.token())
    host, port = site.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 50):
            slow.sendall(head[start : start + 50])
            assert visitor.get("/plain").text == "plain"
        assert slow.recv(12) == b"HTTP/1.1 101"


def test_asker() -> None:
    """Somebody without user and cookie has no identity to be bound to."""
    assert Principal(address="192.0.2.1").identity is None


# --- what a person sees ------------------------------------------------------------------------


def test_a_limit_in_the_plots_place(live: Live, tab: Tab) -> None:
    """Over a limit the page is whole, and the plot's place says why."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_MAX_SESSIONS": 1}, clean=False)
    visitor = Visitor(site)
    with visitor.upgrade(visitor.token()) as upgraded:
        assert upgraded.status == 101
        tab.page.goto(f"{site.url}/show/open")
        box = tab.page.get_by_role("alert")
        box.wait_for(timeout=10_000)
        assert box.inner_text() == (
            "This site shows as many plots as it can at a time. Reload the page."
        )
        assert site.log.count("GET /show/open") == 2  # the page did not reload itself
    tab.forgive_the_network()
    tab.forgive("Failed to load Bokeh session", "Error rendering Bokeh items")


def test_a_logout_in_another_tab(live: Live, tab: Tab) -> None:
    """Who logs out elsewhere sees their plots' page reload itself, and so the login page."""
    site = live("gunicorn-gthread", APP, clean=False)
    tab.page.goto(f"{site.url}/login/ann")
    tab.open(f"{site.url}/show/private")
    other = tab.page.context.new_page()
    other.goto(f"{site.url}/logout")
    tab.page.wait_for_url("**/login?next=*", timeout=20_000)
    assert "please log in" in tab.page.inner_text("body")
    tab.forgive_the_network()
    tab.forgive("status of 403")


def test_a_guard_that_sends_elsewhere(live: Live, tab: Tab) -> None:
    """Who is suspended while they look is sent where the guard of their page sends them."""
    config = {"BOKEH_SECRET_KEY": secrets.token_hex(16)}  # or it would meet other tests' workers
    site = live("gunicorn-gthread", APP, config=config, clean=False)
    sockets: list[WebSocketRoute] = []

    def through(one: WebSocketRoute) -> None:
        sockets.append(one)
        one.connect_to_server()

    tab.page.route_web_socket("**/ws*", through)
    tab.page.goto(f"{site.url}/login/ann")
    tab.open(f"{site.url}/show/owned?owner=ann")
    Visitor(site).get("/role/ann/suspended")
    sockets[0].close()  # as a bad network would
    tab.page.wait_for_url("**/login", timeout=20_000)
    tab.forgive_the_network()


def test_a_browser_that_comes_back(live: Live, tab: Tab) -> None:
    """A browser's cookie lets its page reconnect, long after its token's short life."""
    site = live("gunicorn-gthread", APP, config={"BOKEH_TOKEN_EXPIRATION": 1}, clean=False)
    tab.open(f"{site.url}/show/open")
    tab.move_slider()
    tab.until_title("k=2")
    (cookie,) = tab.page.context.cookies()
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Lax"
    assert tab.page.evaluate("document.cookie") == ""
    tab.page.evaluate("Bokeh.documents[0]")
    tab.page.wait_for_timeout(1100)  # the token expires
    address = site.address.rpartition(":")[2]
    site.stop()
    live("gunicorn-gthread", APP, args=["--bind", f"127.0.0.1:{address}"], clean=False)
    tab.until_message("Reconnected websocket")
    tab.move_slider(2)
    tab.until_title("k=3")
    tab.forgive_the_network()
