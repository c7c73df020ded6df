"""Tokens: signed, small, with nothing in them but the visit."""

from __future__ import annotations

import base64
import json
import random
import time
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.util.token import generate_jwt_token, generate_session_id, get_token_payload
from hypothesis import given
from hypothesis import strategies as st

from flask_bokeh import ArgumentsError, TokenError, visit
from flask_bokeh.security.keys import derive_key
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.tokens import MAX_TOKEN_LENGTH, TokenIssuer

ANN = Principal(user="ann")
KEY = b"a key for the tests only"
issuer = TokenIssuer(keys=(KEY,), expiration=300, max_age=3600, max_arguments_size=2048)


def test_what_goes_in_comes_out() -> None:
    """A token carries user, arguments, data, path and session id, and the process that pulled."""
    token = issuer.mint(
        "/x",
        principal=ANN,
        user="ann",
        arguments={"year": 2024},
        data={"a": [1, None]},
        worker_id="w",
    )
    read = issuer.read(token.encoded)
    assert read == token
    assert read.visit.user == "ann"
    assert read.visit.arguments == {"year": "2024"}
    assert read.visit.data == {"a": [1, None]}
    assert read.visit.path == "/x"
    assert (read.worker_id, read.pulled) == ("w", True)


def test_bokeh_finds_the_arguments_where_it_looks() -> None:
    """doc.session_context.request.arguments is made from the token, as Bokeh makes it."""
    payload = get_token_payload(
        issuer.mint("/x", principal=ANN, user=None, arguments={"q": "ü"}).encoded
    )
    assert payload["arguments"] == {"q": ["ü".encode()]}
    assert "cookies" not in payload
    assert "headers" not in payload


def test_sessions_have_ids_of_their_own() -> None:
    """Each token is of another session."""
    ids = {issuer.mint("/x", principal=ANN, user=None).visit.session_id for _ in range(50)}
    assert len(ids) == 50


def test_renewing_keeps_session_visit_and_age() -> None:
    """A renewed token is of the same session and page, and expires later."""
    old = replace(issuer, expiration=1).mint("/x", principal=ANN, user="ann", data={"k": 1})
    new = issuer.renew(old)
    assert (new.visit, new.issued_at) == (old.visit, old.issued_at)
    expiry = [get_token_payload(token.encoded)["session_expiry"] for token in (old, new)]
    assert expiry[1] - expiry[0] >= 298


def test_an_old_page_is_not_renewed_for_ever() -> None:
    """After BOKEH_TOKEN_MAX_AGE a token is refused."""
    token = issuer.mint("/x", principal=ANN, user=None)
    old = issuer.renew(replace(token, issued_at=time.time() - 3601))
    with pytest.raises(TokenError, match="too old"):
        issuer.read(old.encoded)


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        ({"a": {}}, None, "expected strings or numbers"),
        ({"a": ["b", ["c"]]}, None, "expected strings or numbers, or a list"),
        ({1: "a"}, None, "expected strings or numbers"),
        ([1], None, "arguments for '/x' is a list; expected a dict"),
        (None, {"b": 1, "a": object()}, "has 'a', which is not JSON"),
        (None, {"a": float("nan")}, "finite numbers"),
        (None, [1], "data for '/x' is a list; expected a dict"),
        (None, np.zeros(2), "data for '/x' is a ndarray; expected a dict"),
        (None, {1: "a"}, "changes on its way"),
        (None, {"a": (1, 2)}, "changes on its way"),
        ({"a": "x" * 2048}, None, "BOKEH_MAX_ARGUMENTS_SIZE allows 2,048"),
    ],
)
def test_what_cannot_travel_is_refused(arguments: Any, data: Any, message: str) -> None:
    """Arguments and data that are not JSON, or too large, are refused where they are given."""
    with pytest.raises(ArgumentsError, match=message):
        issuer.mint("/x", principal=ANN, user=None, arguments=arguments, data=data)


def test_a_token_fits_into_a_header() -> None:
    """Whatever is allowed, the token stays under the 8 KB that servers and proxies take."""
    noise = base64.b64encode(zlib.compress(bytes(range(256)) * 5)).decode() * 4
    large = replace(issuer, max_arguments_size=50_000)
    assert (
        len(issuer.mint("/x", principal=ANN, user=None, data={"n": noise[:1900]}).encoded)
        < MAX_TOKEN_LENGTH
    )
    rng = random.Random(1)
    much = {"n": "".join(chr(rng.randint(33, 126)) for _ in range(9000))}
    with pytest.raises(ArgumentsError, match="headers over 8 KB"):
        large.mint("/x", principal=ANN, user=None, data=much)


def test_forged_tokens_are_refused() -> None:
    """Unsigned, signed with another key, cut, or put together from two: refused."""
    text = issuer.mint("/x", principal=ANN, user="ann").encoded
    other = (
        replace(issuer, keys=(b"another key entirely",))
        .mint("/x", principal=ANN, user="ann")
        .encoded
    )
    body, signature = text.split(".")
    plain = generate_jwt_token(generate_session_id(None, False), None, False)
    bomb = (
        base64.urlsafe_b64encode(
            json.dumps(
                {
                    "session_id": "x",
                    "__bk__zlib_": base64.urlsafe_b64encode(zlib.compress(b"0" * 10**6)).decode(),
                }
            ).encode()
        )
        .decode()
        .rstrip("=")
    )
    for bad in (
        other,
        plain,
        body,
        f"{body}.",
        f".{signature}",
        f"{body}.{other.split('.')[1]}",
        f"{other.split('.')[0]}.{signature}",
        text[:-1],
        text + "A",
        f"{bomb}.{signature}",
        "",
        "a" * 1_000_000,
        "Ä.Ö",
    ):
        with pytest.raises(TokenError):
            issuer.read(bad)


def test_a_signed_token_of_somebody_elses_is_refused() -> None:
    """A token that Bokeh signed with our key, but that we did not mint, is refused."""
    session_id = generate_session_id(KEY, True)
    with pytest.raises(TokenError, match="malformed"):
        issuer.read(generate_jwt_token(session_id, KEY, True))


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,60}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail in another way than by refusing."""
    with pytest.raises(TokenError):
        issuer.read(text)


def test_tokens_and_keys_are_not_shown() -> None:
    """Reprs hold neither the key nor a token."""
    token = issuer.mint("/x", principal=ANN, user=None)
    assert token.encoded not in repr(token)
    assert "key for the tests" not in repr(issuer)


def test_a_token_belongs_to_who_asked() -> None:
    """To the same user or the same browser, and a bearer token to everybody."""
    browser = Principal(browser="b")
    for principal, others in [
        (ANN, [Principal(user="Ann"), browser, Principal(), Principal(browser="ann")]),
        (
            browser,
            [
                ANN,
                Principal(browser="c"),
                Principal(),
                Principal(user="b"),
                Principal(user="browser b"),
            ],
        ),
    ]:
        token = issuer.read(issuer.mint("/x", principal=principal, user=None).encoded)
        assert issuer.belongs_to(token, replace(principal, address="elsewhere"))
        assert not any(issuer.belongs_to(token, other) for other in others)
        assert principal.identity
        assert principal.identity not in str(get_token_payload(token.encoded))
    bearer = issuer.read(issuer.mint("/x", principal=Principal(), user=None).encoded)
    assert all(issuer.belongs_to(bearer, principal) for principal in (ANN, browser, Principal()))


def test_keys_are_changed_without_a_break() -> None:
    """Tokens of an older key are read, belong to the same, and are signed with the new one."""
    old = issuer.mint("/x", principal=ANN, user="ann", data={"k": 1})
    new_key = b"a new key for the tests"
    both, new = replace(issuer, keys=(new_key, KEY)), replace(issuer, keys=(new_key,))
    with pytest.raises(TokenError, match="wrong signature"):
        new.read(old.encoded)
    token = both.read(old.encoded)
    assert both.belongs_to(token, ANN)
    assert not both.belongs_to(token, Principal(user="bob"))
    renewed = new.read(both.renew(token).encoded)
    assert renewed.visit == token.visit == both.read(old.encoded).visit
    assert renewed.visit.data == {"k": 1}
    assert both.read(both.mint("/x", principal=ANN, user=None).encoded).visit.path == "/x"


def test_the_derived_key_is_not_the_sites_key() -> None:
    """The key from SECRET_KEY is stable, for text and bytes alike, and not SECRET_KEY itself."""
    assert derive_key("secret") == derive_key(b"secret") != b"secret"
    assert derive_key("secret") != derive_key("Secret")


def test_a_document_from_elsewhere_has_no_visit() -> None:
    """visit() says so where there is none."""
    with pytest.raises(TokenError, match="no session of flask_bokeh"):
        visit(Document())


def test_a_token_lives_as_long_as_it_should() -> None:
    """Bokeh counts whole seconds; also a token of a second's last moment has its time."""
    short = replace(issuer, expiration=1)
    for _ in range(5):
        now = time.time()
        token = short.mint("/x", principal=ANN, user="ann")
        assert now + 1 <= get_token_payload(token.encoded)["session_expiry"] <= now + 3
        time.sleep(0.21)  # another part of a second
