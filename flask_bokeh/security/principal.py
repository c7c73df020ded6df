"""The principal of a request: the user or browser that sends it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ("Principal",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who sends a request: for a page, or to open a WebSocket."""

    user: str | None = None
    """The site's user; None for nobody in particular."""

    browser: str | None = field(default=None, repr=False)
    """For nobody in particular, the id in our cookie; None where there is none."""

    more_browsers: tuple[str, ...] = field(default=(), repr=False)
    """Further ids of ours that came with the request; their tokens are this browser's, too."""

    address: str | None = None
    """The client's address; empty where it is not known, None where there is no client."""

    def __str__(self) -> str:
        """Return user and address, for log lines."""
        user = "a visitor without a user" if self.user is None else f"user {self.user!r}"
        return f"{user} at {self.address or 'an unknown address'}"

    @property
    def identity(self) -> str | None:
        """What a token is bound to; None for who can't be told from others."""
        return next(iter(self.identities), None)

    @property
    def identities(self) -> tuple[str, ...]:
        """Everything that a token of this visitor's can be bound to."""
        if self.user is not None:
            return (f"user {self.user}",)
        if self.browser is None:
            return ()
        return tuple(f"browser {one}" for one in (self.browser, *self.more_browsers))
