"""The principal of a request: the user or browser that sent it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ("Principal",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The sender of a request: for a page, or to open a WebSocket."""

    user: str | None = None
    """The site's user; None for an anonymous visitor."""

    browser: str | None = field(default=None, repr=False)
    """Browser ID from our cookie, for anonymous visitors; None without the cookie."""

    more_browsers: tuple[str, ...] = field(default=(), repr=False)
    """Further valid browser IDs in the request, whose tokens this browser may use, too."""

    address: str | None = None
    """The client's address; empty if it is unknown, None if there is no client."""

    def __str__(self) -> str:
        """Return user and address, for log lines."""
        user = "a visitor without a user" if self.user is None else f"user {self.user!r}"
        return f"{user} at {self.address or 'an unknown address'}"

    @property
    def identity(self) -> str | None:
        """The identity that new tokens are bound to; None for an unidentified visitor."""
        return next(iter(self.identities), None)

    @property
    def identities(self) -> tuple[str, ...]:
        """All identities whose tokens this principal may use."""
        if self.user is not None:
            return (f"user {self.user}",)
        if self.browser is None:
            return ()
        return tuple(f"browser {one}" for one in (self.browser, *self.more_browsers))
