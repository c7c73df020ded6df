"""The request head that is replayed to Tornado. See also attacks/test_upgrades.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_bokeh import HandoffError
from flask_bokeh.hijack.upgrade_request import request_head

ENVIRON = {
    "HTTP_HOST": "example.org",
    "HTTP_ORIGIN": "https://example.org",
    "HTTP_COOKIE": "session=1",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_CONNECTION": "keep-alive, Upgrade",
    "HTTP_X_FORWARDED_FOR": "10.0.0.1",
    "HTTP_AUTHORIZATION": "Basic x",
    "QUERY_STRING": "a=1",
    "REQUEST_URI": "/evil",
}


def test_head_has_only_listed_headers() -> None:
    """A head has our own target, Connection, Upgrade and token, and only listed client headers."""
    lines = request_head("/x/ws", ENVIRON, "to.ken").decode().split("\r\n")
    assert lines == [
        "GET /x/ws HTTP/1.1",
        "Host: example.org",
        "Cookie: session=1",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Protocol: bokeh, to.ken",
        "",
        "",
    ]


@pytest.mark.parametrize("char", ["\r", "\n", "\r\n\r\n", "\0", "\x0b", "\x1f", "\x7f", "\u0100"])
@pytest.mark.parametrize("name", ["HOST", "COOKIE", "USER_AGENT", "SEC_WEBSOCKET_KEY"])
def test_header_cannot_end_its_line(name: str, char: str) -> None:
    """A control character in any forwarded header is refused."""
    with pytest.raises(HandoffError) as caught:
        request_head("/x/ws", {**ENVIRON, f"HTTP_{name}": f"a{char}GET /b HTTP/1.1"}, "to.ken")
    assert caught.value.status == 400


@pytest.mark.parametrize("target", ["/x y", "/x\r\nHost: b", "x", "/x?y", "/ä", ""])
def test_target_must_be_a_plain_path(target: str) -> None:
    """A target that is not a plain path is refused."""
    with pytest.raises(HandoffError):
        request_head(target, ENVIRON, "to.ken")


def test_head_over_the_limit_is_refused_with_431() -> None:
    """Headers of more than 32 KB are refused with 431."""
    with pytest.raises(HandoffError) as caught:
        request_head("/x/ws", {**ENVIRON, "HTTP_COOKIE": "a" * 33_000}, "to.ken")
    assert caught.value.status == 431


@given(
    st.dictionaries(
        st.sampled_from([name for name in ENVIRON if name.startswith("HTTP_")])
        | st.text(max_size=10).map("HTTP_".__add__),
        st.text(max_size=60),
    )
)
def test_no_header_adds_another_line(environ: dict[str, str]) -> None:
    """Any headers are either refused or produce one request that ends with our own lines."""
    try:
        head = request_head("/x/ws", environ, "to.ken")
    except HandoffError:
        return
    assert head.count(b"\r\n\r\n") == 1
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert lines[0] == b"GET /x/ws HTTP/1.1"
    assert lines[-3:] == [
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Protocol: bokeh, to.ken",
    ]
    names = [line.partition(b":")[0] for line in lines[1:]]
    assert len(names) == len(set(names))
    assert not any((byte < 32 and byte != 9) or byte == 127 for byte in b"".join(lines))
