"""A rate limit for each key: a token bucket that refills within a minute."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ("RateLimit",)

_MANY = 10_000


class RateLimit:
    """Allows a number of events a minute for each key, also all of them at once.

    :param per_minute: the number; None for no limit.
    :param clock: returns seconds.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, key: str) -> bool:
        """Return whether one more event is allowed now, without counting one."""
        return self._per_minute is None or self._refilled(key, self._per_minute) >= 1

    def count(self, key: str) -> None:
        """Count an event that was allowed."""
        if self._per_minute is not None:
            self._buckets[key] = (self._refilled(key, self._per_minute) - 1, self._clock())

    def _refilled(self, key: str, per_minute: int) -> float:
        now = self._clock()
        if len(self._buckets) > _MANY:
            self._buckets = {
                one: bucket for one, bucket in self._buckets.items() if now - bucket[1] < 60
            }
        left, then = self._buckets.get(key, (float(per_minute), now))
        return min(float(per_minute), left + (now - then) * per_minute / 60)
