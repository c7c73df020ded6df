"""How many sessions there may be, and whose they are, in one process.

A session has a seat here before it exists, so that openings at the same time can't exceed a
limit: the seat is taken before the WebSocket is let in, confirmed when the session's document
is filled, and given back when the session is destroyed. For any thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address

from ..errors import LimitError, SessionEndedError
from ..runtime.gevent import original
from ..settings import Settings
from .principal import Asker
from .revocation import Ended
from .tokens import Token

__all__ = ("Limits", "Seat", "network_of")

_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?")

WAIT = 60.0
"""Seconds for which a seat is kept for a session that has not been created."""


@dataclass(slots=True, eq=False)
class Seat:
    """A session, or the place of one that is about to be created."""

    path: str
    session_id: str
    user: str | None
    bound: str | None
    network: str | None
    """The client's, see :func:`network_of`; None for who came by the server's own port."""
    issued: float
    """When the session's page was made, in seconds since the epoch."""
    since: float
    context: object = None
    """Bokeh's context of the session, once there is one: an id can come back with another."""
    ended: bool = False
    """Whether somebody has ended it, and it may not come back."""


class Limits:
    """Who has how many sessions."""

    def __init__(
        self,
        settings: Settings,
        ended: Ended,
        clock: Callable[[], float] = time.monotonic,
        digests: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        """
        :param clock: seconds, for tests.
        :param digests: what the tokens that a user asks for are bound to.
        """
        self._settings = settings
        self._ended = ended
        self._clock = clock
        self._digests = digests
        self._seats: dict[str, Seat] = {}
        self._rate = _Rate(settings.max_session_rate, clock)
        # Views and the loop meet on it, which gevent's own locks do not stand; held for no time.
        self._lock = original("_thread", "allocate_lock")()

    def open(self, token: Token, asker: Asker, *, only_ask: bool = False) -> bool:
        """Take a seat for the token's session, if it has none.

        :param only_ask: take nothing.
        :returns: whether the seat is a new one.
        :raises LimitError: if there is none left for this asker.
        :raises SessionEndedError: if the session, or all that the asker had, have been ended.
        """
        with self._lock:
            if self._known(token):
                return False
            network = None if asker.address is None else network_of(asker.address)
            self._check_counts(token.bound, network)
            key = token.bound if asker.user is not None else network
            if key is not None and not self._rate.allows(key, spend=not only_ask):
                raise LimitError(
                    "max_session_rate",
                    self._settings.max_session_rate,
                    "Too many plots were opened in a short time. Please wait a minute.",
                )
            if not only_ask:
                self._seat(token, network)
            return True

    def created(self, token: Token, context: object) -> None:
        """Confirm the seat, as the session's document is about to be filled.

        A session that comes past Flask, by the server's own port, takes its seat here.

        :param context: Bokeh's, of the session.
        :raises LimitError: if there is none left.
        :raises SessionEndedError: if the session has been ended meanwhile.
        """
        with self._lock:
            try:
                if not self._known(token):
                    self._check_counts(token.bound, None)
                    self._seat(token, None)
            finally:
                if seat := self._seats.get(token.visit.session_id):
                    seat.context = context

    def leave(self, session_id: str, context: object = None) -> None:
        """Give the seat back, unless it has become that of another session of the same id.

        :param context: of the session that has ended; None if none was created.
        """
        with self._lock:
            seat = self._seats.get(session_id)
            if seat is not None and seat.context is context:
                del self._seats[session_id]

    def has_ended(self, session_id: str) -> bool:
        """Whether somebody has ended this session."""
        with self._lock:
            seat = self._seats.get(session_id)
            return seat is not None and seat.ended

    def holds(self, seat: Seat) -> bool:
        """Whether this seat is still taken, and its session may come yet if it has not."""
        with self._lock:
            late = seat.context is None and self._clock() - seat.since > WAIT
            return self._seats.get(seat.session_id) is seat and not late

    def end(self, digests: Collection[str], then: float) -> tuple[list[Seat], int]:
        """Mark the sessions of a user as ended; return their seats, and how many that is news to.

        Those that do not exist yet never will show anything.

        :param digests: what the tokens that the user asked for are bound to.
        :param then: sessions of pages that were made later are left alone.
        """
        return self._end(
            lambda seat: seat.issued <= then and not self._of(seat).isdisjoint(digests)
        )

    def end_missed(self) -> tuple[list[Seat], int]:
        """The same for what others have ended without our being told."""
        return self._end(lambda seat: self._ended.ends_all(self._of(seat), seat.issued))

    def _end(self, whether: Callable[[Seat], bool]) -> tuple[list[Seat], int]:
        with self._lock:
            seats = list(self._seats.values())
        seats = [seat for seat in seats if whether(seat)]
        with self._lock:
            news = sum(not seat.ended for seat in seats)
            for seat in seats:
                seat.ended = True
        return seats, news

    def _of(self, seat: Seat) -> set[str]:
        """Whose end is this session's: who has asked for it, and who it was pulled for."""
        of = set() if seat.user is None else set(self._digests(seat.user))
        return of if seat.bound is None else of | {seat.bound}

    def _known(self, token: Token) -> bool:
        seat = self._seats.get(token.visit.session_id)
        if self._ended.ends(token) or (seat is not None and seat.ended):
            raise SessionEndedError("This session has been ended.")
        return seat is not None

    def _seat(self, token: Token, network: str | None) -> None:
        visit = token.visit
        self._seats[visit.session_id] = Seat(
            path=visit.path,
            session_id=visit.session_id,
            user=visit.user,
            bound=token.bound,
            network=network,
            issued=token.issued,
            since=self._clock(),
        )

    def _check_counts(self, bound: str | None, network: str | None) -> None:
        now = self._clock()
        late = [
            seat.session_id
            for seat in self._seats.values()
            if seat.context is None and now - seat.since > WAIT
        ]
        for session_id in late:
            del self._seats[session_id]
        seats = self._seats.values()
        self._check(
            "max_sessions", len(seats), "This site shows as many plots as it can at a time."
        )
        if bound is not None:
            self._check(
                "max_sessions_per_user",
                sum(seat.bound == bound for seat in seats),
                "You have as many plots open as one visitor may. Please close some pages.",
            )
        if network is not None:
            self._check(
                "max_sessions_per_address",
                sum(seat.network == network for seat in seats),
                "Too many plots are open from your network address.",
            )

    def _check(self, name: str, count: int, message: str) -> None:
        limit: int | None = getattr(self._settings, name)
        if limit is not None and count >= limit:
            raise LimitError(name, limit, message)


def network_of(address: str) -> str:
    """Return what counts as one address: for IPv6 a /64, which one customer has to themselves.

    Clients whose address is unknown count as one, like those behind a proxy without ``ProxyFix``.
    """
    if match := _WITH_PORT.fullmatch(address):  # some proxies add the port
        address = match[1] or match[2]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


class _Rate:
    """So many a minute for each key, all at once if need be (a token bucket)."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._most = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, key: str, *, spend: bool) -> bool:
        if self._most is None:
            return True
        now = self._clock()
        if len(self._buckets) > 10_000:
            self._buckets = {
                one: bucket for one, bucket in self._buckets.items() if now - bucket[1] < 60
            }
        left, then = self._buckets.get(key, (float(self._most), now))
        left = min(float(self._most), left + (now - then) * self._most / 60)
        if left < 1:
            return False
        if spend:
            self._buckets[key] = (left - 1, now)
        return True
