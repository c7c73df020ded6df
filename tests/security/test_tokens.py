"""Signed session tokens and their contents."""

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


def test_read_returns_what_mint_was_given() -> None:
    """A token carries the user, arguments, data, path, session ID and worker ID."""
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


def test_payload_holds_arguments_as_bokeh_reads_them() -> None:
    """Bokeh makes session_context.request from the payload, without cookies and headers."""
    payload = get_token_payload(
        issuer.mint("/x", principal=ANN, user=None, arguments={"q": "ü"}).encoded
    )
    assert payload["arguments"] == {"q": ["ü".encode()]}
    assert "cookies" not in payload
    assert "headers" not in payload


def test_each_token_has_a_new_session_id() -> None:
    ids = {issuer.mint("/x", principal=ANN, user=None).visit.session_id for _ in range(50)}
    assert len(ids) == 50


def test_renewed_token_keeps_visit_and_issue_time() -> None:
    """Renewal extends the expiry only."""
    old = replace(issuer, expiration=1).mint("/x", principal=ANN, user="ann", data={"k": 1})
    new = issuer.renew(old)
    assert (new.visit, new.issued_at) == (old.visit, old.issued_at)
    expiry = [get_token_payload(token.encoded)["session_expiry"] for token in (old, new)]
    assert expiry[1] - expiry[0] >= 298


def test_renewed_token_older_than_max_age_is_refused() -> None:
    """BOKEH_TOKEN_MAX_AGE counts from the first token of a page."""
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
def test_values_that_are_not_json_or_too_large_are_refused(
    arguments: Any, data: Any, message: str
) -> None:
    """Arguments and data are checked when a token is minted."""
    with pytest.raises(ArgumentsError, match=message):
        issuer.mint("/x", principal=ANN, user=None, arguments=arguments, data=data)


def test_token_fits_into_a_header_of_8_kb() -> None:
    """Allowed arguments and data make a token that servers accept; more raises ArgumentsError."""
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
    """Tokens that are unsigned, signed with another key, cut or recombined raise TokenError."""
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


def test_token_that_we_signed_but_did_not_mint_is_refused() -> None:
    """A token that Bokeh signed with our key is refused if it lacks our payload."""
    session_id = generate_session_id(KEY, True)
    with pytest.raises(TokenError, match="malformed"):
        issuer.read(generate_jwt_token(session_id, KEY, True))


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,60}"))
def test_any_text_is_refused_with_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        issuer.read(text)


def test_reprs_hide_tokens_and_keys() -> None:
    token = issuer.mint("/x", principal=ANN, user=None)
    assert token.encoded not in repr(token)
    assert "key for the tests" not in repr(issuer)


def test_token_belongs_to_its_principal() -> None:
    """A token is valid for the same user or browser; a bearer token is valid for everybody."""
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


def test_tokens_stay_valid_when_keys_are_changed() -> None:
    """A token of an older key keeps its subject and is renewed with the new key."""
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


def test_derived_key_is_stable_and_not_the_secret_key() -> None:
    """SECRET_KEY may be text or bytes."""
    assert derive_key("secret") == derive_key(b"secret") != b"secret"
    assert derive_key("secret") != derive_key("Secret")


def test_visit_of_a_foreign_document_raises_token_error() -> None:
    with pytest.raises(TokenError, match="no session of flask_bokeh"):
        visit(Document())


def test_token_lives_for_its_full_expiration() -> None:
    """Bokeh counts whole seconds; a token issued late in a second loses none."""
    short = replace(issuer, expiration=1)
    for _ in range(5):
        now = time.time()
        token = short.mint("/x", principal=ANN, user="ann")
        assert now + 1 <= get_token_payload(token.encoded)["session_expiry"] <= now + 3
        time.sleep(0.21)  # another part of a second
