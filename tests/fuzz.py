"""Fuzz the parsers of client input: ``python -m tests.fuzz token 60`` (target, seconds).

With atheris (``pip install atheris``) the run is guided by coverage, otherwise it is random. It
prints the number of inputs, or fails with the input that broke the target. ``tests/test_fuzz.py``
runs the same targets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(
        include=["flask_bokeh.security.tokens", "flask_bokeh.security.visit"]
    ):
        from flask_bokeh.security import tokens
    with atheris.instrument_imports(include=["flask_bokeh.hijack.upgrade_request"]):
        from flask_bokeh.hijack import upgrade_request as handoff
else:
    from flask_bokeh.hijack import upgrade_request as handoff
    from flask_bokeh.security import tokens

from flask_bokeh.errors import HandoffError, TokenError
from flask_bokeh.security.principal import Principal

KEY = b"a key for the tests only"
ISSUER = tokens.TokenIssuer(keys=(KEY,), expiration=300, max_age=3600, max_arguments_size=2048)
ANN = Principal(user="ann")
NAMES = {"Connection", "Upgrade", "Sec-WebSocket-Protocol", *handoff.FORWARDED_HEADERS}


def signed(body: bytes) -> str:
    """Sign any bytes: only somebody who has the key could send the result."""
    base = base64.urlsafe_b64encode(body).decode().rstrip("=")
    signature = hmac.new(KEY, base.encode(), hashlib.sha256).digest()
    return f"{base}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def read_token(data: bytes) -> None:
    """Check that an unsigned text is refused, and that a signed one is read or refused."""
    text = data.decode("latin-1")
    try:
        ISSUER.read(text)
    except TokenError:
        pass
    else:
        raise AssertionError(f"read without a signature: {text!r}")
    try:
        token = ISSUER.read(signed(data))
    except TokenError:
        return
    ISSUER.belongs_to(token, ANN)
    ISSUER.is_expired(token)


def rebuild_head(data: bytes) -> None:
    """Check that an environ gives one request with known headers only, or is refused."""
    parts = [part.decode("latin-1") for part in data.split(b"\x00")]
    names = [*handoff.FORWARDED_HEADERS, "Transfer-Encoding", "Content-Length", "X-Evil"]
    environ: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in zip(names, parts[1:], strict=False)
    }
    try:
        head = handoff.request_head(f"/{parts[0]}", environ, "a.b")
    except HandoffError:
        return
    text = head.decode("latin-1")
    assert text.endswith("\r\n\r\n")
    lines = text[:-4].split("\r\n")
    assert lines[0].startswith("GET /")
    assert lines[0].endswith(" HTTP/1.1")
    assert lines[0].count(" ") == 2
    assert not any(mark in line for line in lines for mark in "\r\n\0")
    found = [line.partition(": ")[0] for line in lines[1:]]
    assert set(found) <= NAMES, found
    assert len(set(found)) == len(found)


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "token": (
        read_token,
        [
            ISSUER.mint("/x", principal=ANN, user="ann", arguments={"a": 1}, data={"b": [1]})
            .encoded.split(".")[0]
            .encode(),
            base64.urlsafe_b64decode(
                ISSUER.mint("/x", principal=ANN, user=None).encoded.split(".")[0] + "=="
            ),
            b'{"session_id": "a.b", "session_expiry": 1, "__bk__zlib_": "eJyrrgUAAXUA-Q"}',
        ],
    ),
    "head": (
        rebuild_head,
        [
            b"hooked/ws\0example.org\0a=b\0Mozilla\0en\0key\x0013\0permessage-deflate\0chunked",
            b"x\r\nEvil: 1\0a\r\nb\0c\nd",
        ],
    ),
}


def mutations(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return a seed with some random changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(0, 8)):
        at = rng.randint(0, len(data))
        match rng.randint(0, 3):
            case 0:
                data[at : at + 1] = bytes([rng.randint(0, 255)])
            case 1:
                del data[at : at + rng.randint(1, 9)]
            case 2:
                data[at:at] = rng.choice([b"\r\n", b"\0", b" ", b"\xff", b'"', b"{", b"-1"])
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 40)]
    return bytes(data)


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    target, seeds = TARGETS[name]
    runs, deadline = 0, time.monotonic() + seconds
    corpus = tempfile.TemporaryDirectory()

    def one(data: bytes) -> None:
        nonlocal runs
        target(data)
        runs += 1
        if time.monotonic() > deadline:
            by = "random" if atheris is None else f"atheris, Python {sys.version_info[:2]}"
            sys.stdout.write(f"{name}: {runs:,} inputs in {seconds:g} s, no failure ({by})\n")
            sys.stdout.flush()
            corpus.cleanup()
            os._exit(0)  # libFuzzer cannot be stopped in another way

    if atheris is not None:
        for number, seed in enumerate(seeds):
            Path(corpus.name, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], "-max_len=6000", "-verbosity=0", corpus.name], one)
        atheris.Fuzz()
    rng = random.Random()
    while True:
        one(mutations(seeds, rng))


if __name__ == "__main__":
    main()
