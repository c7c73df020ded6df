"""How many sessions there may be, and whose they are, in one process.

A session has a reservation before it exists, so that concurrent requests can't exceed a limit. The
reservation is made before the WebSocket is accepted, confirmed when the session's document is
filled, and released when the session is destroyed. Safe to call from any thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address

from ..errors import LimitError, SessionEndedError
from ..runtime.gevent import unpatched
from ..settings import Settings
from .principal import Principal
from .revocation import RevocationList
from .tokens import Token

__all__ = ("Limits", "Reservation", "network_of")

_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?")

WAIT = 60.0
"""Seconds for which a reservation is kept for a session that has not been created."""


@dataclass(slots=True, eq=False)
class Reservation:
    """A session, or the place of one that is about to be created."""

    path: str
    session_id: str
    user: str | None
    subject: str | None
    network: str | None
    """The client's, see :func:`network_of`; None for who came by the server's own port."""
    issued_at: float
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
        ended: RevocationList,
        clock: Callable[[], float] = time.monotonic,
        subject_digests: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        """
        :param clock: seconds, for tests.
        :param subject_digests: what the tokens that a user asks for are bound to.
        """
        self._settings = settings
        self._ended = ended
        self._clock = clock
        self._digests = subject_digests
        self._seats: dict[str, Reservation] = {}
        self._rate = _Rate(settings.max_session_rate, clock)
        # Views and the loop meet on it, which gevent's own locks do not stand; held for no time.
        self._lock = unpatched("_thread", "allocate_lock")()

    def reserve(self, token: Token, principal: Principal, *, only_ask: bool = False) -> bool:
        """Take a reservation for the token's session, if it has none.

        :param only_ask: take nothing.
        :returns: whether the reservation is a new one.
        :raises LimitError: if there is none left for this principal.
        :raises SessionEndedError: if the session, or all that the principal had, have been ended.
        """
        with self._lock:
            if self._known(token):
                return False
            network = None if principal.address is None else network_of(principal.address)
            self._check_counts(token.subject, network)
            key = token.subject if principal.user is not None else network
            if key is not None and not self._rate.allows(key, spend=not only_ask):
                raise LimitError(
                    "max_session_rate",
                    self._settings.max_session_rate,
                    "Too many plots were opened in a short time. Please wait a minute.",
                )
            if not only_ask:
                self._seat(token, network)
            return True

    def confirm(self, token: Token, context: object) -> None:
        """Confirm the reservation, as the session's document is about to be filled.

        A session that comes past Flask, by the server's own port, takes its reservation here.

        :param context: Bokeh's, of the session.
        :raises LimitError: if there is none left.
        :raises SessionEndedError: if the session has been ended meanwhile.
        """
        with self._lock:
            try:
                if not self._known(token):
                    self._check_counts(token.subject, None)
                    self._seat(token, None)
            finally:
                if reservation := self._seats.get(token.visit.session_id):
                    reservation.context = context

    def release(self, session_id: str, context: object = None) -> None:
        """Give the reservation back, unless it has become that of another session of the same id.

        :param context: of the session that has ended; None if none was created.
        """
        with self._lock:
            reservation = self._seats.get(session_id)
            if reservation is not None and reservation.context is context:
                del self._seats[session_id]

    def has_ended(self, session_id: str) -> bool:
        """Whether somebody has ended this session."""
        with self._lock:
            reservation = self._seats.get(session_id)
            return reservation is not None and reservation.ended

    def holds(self, reservation: Reservation) -> bool:
        """Whether this reservation is still taken, and its session may come yet if it has not."""
        with self._lock:
            late = reservation.context is None and self._clock() - reservation.since > WAIT
            return self._seats.get(reservation.session_id) is reservation and not late

    def end(self, subject_digests: Collection[str], then: float) -> tuple[list[Reservation], int]:
        """Mark a user's sessions as closed; return their reservations and the number newly closed.

        Those that do not exist yet never will show anything.

        :param subject_digests: what the tokens that the user asked for are bound to.
        :param then: sessions of pages that were made later are left alone.
        """
        return self._end(
            lambda reservation: (
                reservation.issued_at <= then
                and not self._of(reservation).isdisjoint(subject_digests)
            )
        )

    def end_missed(self) -> tuple[list[Reservation], int]:
        """The same for what others have ended without our being told."""
        return self._end(
            lambda reservation: self._ended.ends_all(self._of(reservation), reservation.issued_at)
        )

    def _end(self, whether: Callable[[Reservation], bool]) -> tuple[list[Reservation], int]:
        with self._lock:
            reservations = list(self._seats.values())
        reservations = [reservation for reservation in reservations if whether(reservation)]
        with self._lock:
            news = sum(not reservation.ended for reservation in reservations)
            for reservation in reservations:
                reservation.ended = True
        return reservations, news

    def _of(self, reservation: Reservation) -> set[str]:
        """Whose end is this session's: who has asked for it, and who it was pulled for."""
        of = set() if reservation.user is None else set(self._digests(reservation.user))
        return of if reservation.subject is None else of | {reservation.subject}

    def _known(self, token: Token) -> bool:
        reservation = self._seats.get(token.visit.session_id)
        if self._ended.ends(token) or (reservation is not None and reservation.ended):
            raise SessionEndedError("This session has been ended.")
        return reservation is not None

    def _seat(self, token: Token, network: str | None) -> None:
        visit = token.visit
        self._seats[visit.session_id] = Reservation(
            path=visit.path,
            session_id=visit.session_id,
            user=visit.user,
            subject=token.subject,
            network=network,
            issued_at=token.issued_at,
            since=self._clock(),
        )

    def _check_counts(self, bound: str | None, network: str | None) -> None:
        now = self._clock()
        late = [
            reservation.session_id
            for reservation in self._seats.values()
            if reservation.context is None and now - reservation.since > WAIT
        ]
        for session_id in late:
            del self._seats[session_id]
        reservations = self._seats.values()
        self._check(
            "max_sessions", len(reservations), "This site shows as many plots as it can at a time."
        )
        if bound is not None:
            self._check(
                "max_sessions_per_user",
                sum(reservation.subject == bound for reservation in reservations),
                "You have as many plots open as one visitor may. Please close some pages.",
            )
        if network is not None:
            self._check(
                "max_sessions_per_address",
                sum(reservation.network == network for reservation in reservations),
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
