"""A request for a WebSocket, once it has been judged: what is handed over with a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ("Upgrade",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What a Bokeh server needs to know of a client."""

    head: bytes = field(repr=False)
    """The rebuilt head of the request; there is a token in it."""

    address: tuple[str, int]
    """The client's."""

    session_id: str = field(repr=False)
    """The session that it is for."""
