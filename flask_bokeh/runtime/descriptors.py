"""File descriptors: how many of the process's may go to clients."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ("is_below_fd_reserve", "max_client_fd")


def max_client_fd() -> int | None:
    """The highest number that a client's descriptor may have, so that some are left for the rest
    of the process: numbers are given out from below. None where there is no limit.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else int(soft) - max(32, int(soft) // 10)


def is_below_fd_reserve(number: int) -> bool:
    """Whether a client may have the descriptor of this number."""
    highest = max_client_fd()
    return highest is None or number <= highest
