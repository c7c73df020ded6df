"""File descriptors: how many of the process's may go to clients."""

from __future__ import annotations

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ("highest_descriptor", "leaves_some")


def highest_descriptor() -> int | None:
    """The highest number that a client's descriptor may have, so that some are left for the rest
    of the process: numbers are given out from below. None where there is no limit.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else int(soft) - max(32, int(soft) // 10)


def leaves_some(number: int) -> bool:
    """Whether a client may have the descriptor of this number."""
    highest = highest_descriptor()
    return highest is None or number <= highest
