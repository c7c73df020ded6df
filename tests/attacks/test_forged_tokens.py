"""Tokens that are forged, altered, too long or sent in the wrong place."""

from __future__ import annotations

import secrets
import time

import pytest

from ..support.forgeries import BAD_TOKENS, ISSUER, token_like, with_issued
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_tokens_are_refused_with_403(visitor: Visitor, name: str) -> None:
    """Only a token that the site issued for this application and visitor is accepted."""
    assert visitor.status(BAD_TOKENS[name](visitor)) == 403


def test_valid_token_is_accepted_for_almost_a_day(visitor: Visitor) -> None:
    """Tokens made with the site's key are accepted, even one that is nearly a day old."""
    assert visitor.status(token_like(visitor)) == 101
    assert visitor.status(with_issued(visitor, time.time() - 86_000)) == 101


def test_too_long_token_is_refused(visitor: Visitor) -> None:
    """A token over the limit is refused, even in a header that gunicorn accepts."""
    known = ISSUER.read(visitor.token())
    for size, status in ((100, 101), (7000, 101), (7260, 403)):
        payload = {
            **{"path": "/open", "user": None, "issued": known.issued_at, "bound": known.subject},
            "data": {"x": secrets.token_hex(size // 2)},
        }
        text = token_like(visitor, extra_payload={"arguments": {}, "flask_bokeh": payload})
        assert len(text) < 8100
        assert visitor.status(text) == status, len(text)


def test_token_of_one_megabyte_is_refused(visitor: Visitor) -> None:
    """gunicorn refuses a header of 1 MB or hangs up, and the site keeps working."""
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
def test_wrong_subprotocols_are_refused(visitor: Visitor, protocol: str | None) -> None:
    """A token is accepted only as the second of exactly two subprotocols."""
    offered = None if protocol is None else protocol.format(token=visitor.token())
    assert visitor.status("", Sec_WebSocket_Protocol=offered) == 403


def test_token_in_the_address_is_refused(visitor: Visitor) -> None:
    """Session IDs and tokens in the query or in Bokeh's headers are refused."""
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
            answer = visitor.get(f"{address}?bokeh-autoload-element=e&{query}")
            assert answer.status == 403
        assert visitor.get(address, Bokeh_Session_Id=session_id).status == 403
    path = f"/open/ws?bokeh-token={token}&x="
    assert visitor.status(token, path, Sec_WebSocket_Protocol="bokeh") in (403, 404)
