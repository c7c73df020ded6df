"""Close frames of WebSockets, with legal codes and helpful reasons (RFC 6455, section 5.5.1)."""

from __future__ import annotations

import logging

from ..runtime.close_codes import (
    BOKEH_INTERNAL_ERROR,
    BOKEH_PROTOCOL_ERROR,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    TOO_COSTLY,
)

__all__ = ("close_code", "close_frame", "is_close_frame", "with_legal_code")

logger = logging.getLogger("flask_bokeh")

_CLOSE = 0x88
"""First byte of a close frame: the last fragment of a message, with opcode 8."""
_MAX_REASON = 123

_LEGAL_CODES = {BOKEH_INTERNAL_ERROR: INTERNAL_ERROR, BOKEH_PROTOCOL_ERROR: PROTOCOL_ERROR}


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame of a server; a reason that is too long is cut."""
    payload = code.to_bytes(2, "big") + reason.encode()[:_MAX_REASON]
    return bytes([_CLOSE, len(payload)]) + payload


def is_close_frame(data: bytes | memoryview) -> bool:
    """True if these bytes are a close frame."""
    return len(data) > 1 and data[0] == _CLOSE


def close_code(frame: bytes) -> int | None:
    """Return the code of a close frame; None if it has no code."""
    return int.from_bytes(frame[2:4], "big") if len(frame) >= 4 else None


def with_legal_code(frame: bytes) -> bytes:
    """Return a close frame of Tornado's or Bokeh's with a legal code and a helpful reason."""
    code = close_code(frame)
    if code is None:
        return frame
    if code == MESSAGE_TOO_BIG and frame[4:] != TOO_COSTLY.encode():
        logger.warning(
            "Closed a WebSocket: its client sent a message larger than "
            "BOKEH_MAX_MESSAGE_SIZE allows."
        )
        return close_frame(code, "the message is too large")
    return frame[:2] + _LEGAL_CODES.get(code, code).to_bytes(2, "big") + frame[4:]
