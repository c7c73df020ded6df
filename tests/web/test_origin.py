"""Comparison of an Origin with the site's own and the allowed ones."""

from __future__ import annotations

import pytest

from flask_bokeh.web.origin import origin_allowed

OWN = "https://example.org"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://example.org", True),
        ("https://EXAMPLE.org", True),
        ("https://example.org:443", True),
        ("http://example.org", False),
        ("https://example.org:8443", False),
        ("https://example.org.evil.net", False),
        ("https://evil-example.org", False),
        ("https://sub.example.org", False),
        ("https://example.org.", False),
        ("https://user@example.org", False),
        ("https://example.org@evil.net", False),
        ("https://example.org/", False),
        ("https://example.org?x", False),
        ("https://example.org#x", False),
        ("https://\u0435xample.org", False),
        ("https://example.org evil.net", False),
        ("null", False),
        ("", False),
        ("ftp://example.org", False),
        ("https://partner.net:8443", True),
        ("https://partner.net", False),
        ("http://plain.net", True),
        ("https://plain.net", True),
        ("https://plain.net:81", False),
    ],
)
def test_origin_must_equal_ours_or_a_listed_one(origin: str, allowed: bool) -> None:
    """Scheme, host and port must all be those of the site or of an entry."""
    entries = ["https://partner.net:8443", "plain.net"]
    assert origin_allowed(origin, OWN, entries, allow_missing=False) is allowed


def test_port_of_an_ipv6_origin_is_compared() -> None:
    own = "http://[::1]:5000"
    assert origin_allowed("http://[::1]:5000", own, [], allow_missing=False)
    assert not origin_allowed("http://[::1]", own, [], allow_missing=False)


@pytest.mark.parametrize("allow", [True, False])
def test_missing_origin_is_allowed_by_a_setting_only(allow: bool) -> None:
    """Clients other than browsers send no Origin."""
    assert origin_allowed(None, OWN, [], allow_missing=allow) is allow
