"""Codes and reasons of WebSocket close frames (RFC 6455, section 7.4.1)."""

from __future__ import annotations

__all__ = (
    "BOKEH_INTERNAL_ERROR",
    "BOKEH_PROTOCOL_ERROR",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "MESSAGE_TOO_BIG",
    "POLICY_VIOLATION",
    "PROTOCOL_ERROR",
    "TOO_COSTLY",
)

GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011

BOKEH_INTERNAL_ERROR = 10000
"""Bokeh's own code, which no close frame may carry: the stream sends 1011 instead."""
BOKEH_PROTOCOL_ERROR = 10001
"""Bokeh's own code, which no close frame may carry: the stream sends 1002 instead."""

TOO_COSTLY = "the message asks for more than one message may"
"""Reason of a close frame with :data:`MESSAGE_TOO_BIG` that is not about the message's size."""
