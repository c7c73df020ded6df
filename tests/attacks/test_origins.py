"""Checks of origins, hosts and proxy headers when a WebSocket is opened."""

from __future__ import annotations

import pytest

from ..support.servers import Live
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


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
        ("http://evilexample.org:8080", 403),  # the site's host is a suffix
        ("http://sub.example.org:8080", 403),
        ("http://example.org.evil.com:8080", 403),  # the site's host is a prefix
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
def test_origin_must_match_scheme_host_and_port(
    visitor: Visitor, origin: str | None, status: int
) -> None:
    """A WebSocket is refused if its origin's scheme, host or port differs from the request's."""
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
def test_unusual_hosts_are_compared_correctly(
    visitor: Visitor, host: str, origin: str, status: int
) -> None:
    """IPv6 addresses, default ports and punycode names are compared correctly."""
    token = visitor.token()
    assert visitor.status(token, Host=host, Origin=origin) in ({status, 400} - {status == 101})


@pytest.mark.parametrize(
    ("forwarded", "proto", "origin", "status"),
    [
        ("shop.example", "https", "https://shop.example", 101),
        ("evil.com, shop.example", "https", "https://shop.example", 101),
        ("evil.com, shop.example", "https", "https://evil.com", 403),  # set by the client
        ("shop.example", "https", "http://shop.example", 403),
        ("shop.example", "http, https", "https://shop.example", 101),
        ("shop.example", "https, http", "https://shop.example", 403),
    ],
)
def test_origin_must_match_the_host_set_by_the_last_proxy(
    visitor: Visitor, forwarded: str, proto: str, origin: str, status: int
) -> None:
    """Behind ProxyFix the origin must match the scheme and host set by the last proxy."""
    token = visitor.token()
    headers = {"X_Forwarded_Host": forwarded, "X_Forwarded_Proto": proto}
    assert visitor.status(token, Origin=origin, **headers) == status


@pytest.fixture(scope="module")
def direct_visitor(module_live: Live) -> Visitor:
    """A visitor of a site without ProxyFix that lists its hosts."""
    config = {"TRUSTED_HOSTS": ["127.0.0.1", ".example.org"]}
    return Visitor(module_live("gunicorn-sync", APP, config=config, clean=False))


def test_forwarded_host_is_ignored_without_proxyfix(direct_visitor: Visitor) -> None:
    """Without ProxyFix, X-Forwarded-Host and similar headers are ignored."""
    visitor = direct_visitor
    token = visitor.token()
    for header in ("X_Forwarded_Host", "X_Forwarded_Server", "Forwarded", "X_Original_Host"):
        value = "host=evil.com" if header == "Forwarded" else "evil.com"
        assert visitor.status(token, Origin="http://evil.com", **{header: value}) == 403
    assert visitor.status(token) == 101


def test_list_of_origins_admits_exactly_its_entries(live: Live) -> None:
    """Exactly the listed origins are accepted, and a missing Origin only if configured."""
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


def test_hosts_that_are_not_trusted_are_answered_400(direct_visitor: Visitor) -> None:
    """A Host that is not in TRUSTED_HOSTS gets a 400, which prevents DNS rebinding."""
    visitor = direct_visitor
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
