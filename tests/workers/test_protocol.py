"""Encoding of requests between workers."""

from __future__ import annotations

import pytest

from flask_bokeh.hijack.upgrade_request import UpgradeRequest
from flask_bokeh.workers.protocol import (
    CloseRequest,
    TransferRequest,
    decode_client,
    encode_client,
    parse_request,
)


@pytest.mark.parametrize(
    "request_", [TransferRequest("/sliders", "an-id"), CloseRequest(["one", "other"], 1.5)]
)
def test_request_is_encoded_as_one_line(request_: TransferRequest | CloseRequest) -> None:
    """A request is encoded to one line and parsed back from it."""
    line = request_.encode().decode()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert parse_request(line[:-1]) == request_


@pytest.mark.parametrize(
    "line",
    ["", "transfer", "transfer /x", "transfer /x a b", "close", "close {}", "close 1", "other x"],
)
def test_malformed_request_is_refused(line: str) -> None:
    """A malformed or unknown request raises ValueError."""
    with pytest.raises(ValueError, match=r"the request is (malformed|unknown)"):
        parse_request(line)


def test_upgrade_request_keeps_its_head_and_address() -> None:
    """An upgrade request is unchanged after encoding and decoding with its session ID."""
    upgrade = UpgradeRequest(
        head=b"GET /x/ws HTTP/1.1\r\nCookie: \xe4\r\n\r\n", address=("::1", 5), session_id="id"
    )
    assert decode_client(encode_client(upgrade), "id") == upgrade
