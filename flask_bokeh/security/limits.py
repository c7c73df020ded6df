"""Limits on the sessions of one process: in total, per user, per address and per minute.

A session has a reservation before it exists, so that concurrent requests can't exceed a limit. The
reservation is made before the WebSocket is accepted, confirmed when the session's document is
filled, and released when the session is destroyed. Thread-safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..errors import LimitError, SessionEndedError
from ..runtime.gevent import unpatched
from ..settings import Settings
from .client_network import network_of
from .principal import Principal
from .rate_limit import RateLimit
from .revocation import RevocationList
from .tokens import Token

__all__ = ("Limits", "Reservation")

WAIT = 60.0
"""Seconds for which a reservation is kept for a session that has not been created."""


@dataclass(slots=True, eq=False)
class Reservation:
    """A session that exists or is about to be created."""

    path: str
    session_id: str
    user: str | None
    subject: str | None
    network: str | None
    """The client's, from :func:`network_of`; None for clients of the Bokeh server's own port."""
    issued_at: float
    """The time when the session's page was made, in seconds since the epoch."""
    since: float
    context: object = None
    """Bokeh's session context, once it exists: an ID can be used again by another session."""
    closed: bool = False
    """True if the session has been closed by a logout or ``close_sessions``."""


class Limits:
    """The reservations of one process.

    :param revocations: the revoked tokens of the site.
    :param clock: returns seconds; for tests.
    :param subject_digests: returns the subjects of the tokens that a user may have.
    """

    def __init__(
        self,
        settings: Settings,
        revocations: RevocationList,
        clock: Callable[[], float] = time.monotonic,
        subject_digests: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        self._settings = settings
        self._revocations = revocations
        self._clock = clock
        self._subject_digests = subject_digests
        self._reservations: dict[str, Reservation] = {}
        self._rate = RateLimit(settings.max_session_rate, clock)
        # Shared by views and the loop, which gevent's locks don't support. Never held for long.
        self._lock = unpatched("_thread", "allocate_lock")()

    def reserve(self, token: Token, principal: Principal) -> bool:
        """Reserve a place for the token's session, unless it has one.

        :returns: whether the reservation is a new one.
        :raises LimitError: if a limit is reached.
        :raises SessionEndedError: if the session has been closed, or the token revoked.
        """
        with self._lock:
            if self._has_reservation(token):
                return False
            network = self._check_limits(token, principal)
            if (key := _rate_key(token, principal, network)) is not None:
                self._rate.count(key)
            self._add(token, network)
            return True

    def check(self, token: Token, principal: Principal) -> None:
        """Check that :meth:`reserve` would succeed, without reserving anything.

        :raises: as :meth:`reserve`.
        """
        with self._lock:
            if not self._has_reservation(token):
                self._check_limits(token, principal)

    def confirm(self, token: Token, context: object) -> None:
        """Confirm the reservation, as the session's document is about to be filled.

        A session without one comes from the Bokeh server's own port, and gets one here.

        :param context: Bokeh's session context.
        :raises LimitError: if a limit is reached.
        :raises SessionEndedError: if the session has been closed, or the token revoked.
        """
        with self._lock:
            try:
                if not self._has_reservation(token):
                    self._check_counts(token.subject, None)
                    self._add(token, None)
            finally:
                if reservation := self._reservations.get(token.visit.session_id):
                    reservation.context = context

    def release(self, session_id: str, context: object = None) -> None:
        """Release a reservation, unless it belongs to a newer session of the same ID.

        :param context: Bokeh's session context; None if no session was created.
        """
        with self._lock:
            reservation = self._reservations.get(session_id)
            if reservation is not None and reservation.context is context:
                del self._reservations[session_id]

    def is_closed(self, session_id: str) -> bool:
        """Return whether a session has been closed by a logout or ``close_sessions``."""
        with self._lock:
            reservation = self._reservations.get(session_id)
            return reservation is not None and reservation.closed

    def is_held(self, reservation: Reservation) -> bool:
        """Return whether the session of a reservation exists or may still be created."""
        with self._lock:
            current = self._reservations.get(reservation.session_id)
            return current is reservation and not self._is_overdue(reservation)

    def close(
        self, subject_digests: Collection[str], revoked_at: float
    ) -> tuple[list[Reservation], int]:
        """Mark the sessions of a user as closed; those not created yet never show anything.

        :param subject_digests: the subjects of the tokens that the user may have.
        :param revoked_at: sessions of pages that were made later stay open.
        :returns: their reservations, and the number newly closed.
        """
        return self._close(
            lambda reservation: (
                reservation.issued_at <= revoked_at
                and not self._subjects(reservation).isdisjoint(subject_digests)
            )
        )

    def close_revoked(self) -> tuple[list[Reservation], int]:
        """Mark all sessions as closed whose tokens have been revoked by other workers.

        :returns: as :meth:`close`.
        """
        return self._close(
            lambda reservation: self._revocations.are_revoked(
                self._subjects(reservation), reservation.issued_at
            )
        )

    def _close(self, matches: Callable[[Reservation], bool]) -> tuple[list[Reservation], int]:
        with self._lock:
            reservations = list(self._reservations.values())
        reservations = [reservation for reservation in reservations if matches(reservation)]
        with self._lock:
            newly_closed = sum(not reservation.closed for reservation in reservations)
            for reservation in reservations:
                reservation.closed = True
        return reservations, newly_closed

    def _subjects(self, reservation: Reservation) -> set[str]:
        """Return the subject that opened a session, and those of the user it was pulled for."""
        user, subject = reservation.user, reservation.subject
        subjects = set() if user is None else set(self._subject_digests(user))
        return subjects if subject is None else subjects | {subject}

    def _has_reservation(self, token: Token) -> bool:
        reservation = self._reservations.get(token.visit.session_id)
        closed = reservation is not None and reservation.closed
        if closed or self._revocations.is_revoked(token):
            raise SessionEndedError("This session has been ended.")
        return reservation is not None

    def _add(self, token: Token, network: str | None) -> None:
        visit = token.visit
        self._reservations[visit.session_id] = Reservation(
            path=visit.path,
            session_id=visit.session_id,
            user=visit.user,
            subject=token.subject,
            network=network,
            issued_at=token.issued_at,
            since=self._clock(),
        )

    def _check_limits(self, token: Token, principal: Principal) -> str | None:
        """Check all limits for a new session, and return the network of its client."""
        network = None if principal.address is None else network_of(principal.address)
        self._check_counts(token.subject, network)
        key = _rate_key(token, principal, network)
        if key is not None and not self._rate.allows(key):
            raise LimitError(
                "max_session_rate",
                self._settings.max_session_rate,
                "Too many plots were opened in a short time. Please wait a minute.",
            )
        return network

    def _check_counts(self, subject: str | None, network: str | None) -> None:
        for overdue in list(filter(self._is_overdue, self._reservations.values())):
            del self._reservations[overdue.session_id]
        reservations = self._reservations.values()
        self._check_count(
            "max_sessions", len(reservations), "This site shows as many plots as it can at a time."
        )
        if subject is not None:
            self._check_count(
                "max_sessions_per_user",
                sum(reservation.subject == subject for reservation in reservations),
                "You have as many plots open as one visitor may. Please close some pages.",
            )
        if network is not None:
            self._check_count(
                "max_sessions_per_address",
                sum(reservation.network == network for reservation in reservations),
                "Too many plots are open from your network address.",
            )

    def _check_count(self, name: str, count: int, message: str) -> None:
        limit: int | None = getattr(self._settings, name)
        if limit is not None and count >= limit:
            raise LimitError(name, limit, message)

    def _is_overdue(self, reservation: Reservation) -> bool:
        return reservation.context is None and self._clock() - reservation.since > WAIT


def _rate_key(token: Token, principal: Principal, network: str | None) -> str | None:
    """Return what the rate limit counts by: the user, or the network of an anonymous visitor."""
    return token.subject if principal.user is not None else network
