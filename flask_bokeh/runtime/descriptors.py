"""Reserve some of the process's file descriptors for other things than clients."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ("is_below_fd_reserve", "max_client_fd")


def max_client_fd() -> int | None:
    """Return the highest number that a client's descriptor may have; None if there is no limit.

    The system uses the lowest free number, so a tenth of all numbers, or 32, remain for files, the
    site's own sockets and subprocesses.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else int(soft) - max(32, int(soft) // 10)


def is_below_fd_reserve(number: int) -> bool:
    """Return whether a client may have the descriptor of this number."""
    highest = max_client_fd()
    return highest is None or number <= highest
