"""Options of uWSGI, where it runs this process."""

from __future__ import annotations

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ("uwsgi_options", "uwsgi_threads_disabled")


def uwsgi_threads_disabled() -> bool:
    """Whether this is uWSGI without ``enable-threads``, where threads run in requests only."""
    return "uwsgi" in sys.modules and not uwsgi_options() & {"enable-threads", "threads"}


def uwsgi_options() -> set[str]:
    """The names of the options of uWSGI, which runs this process."""
    options = sys.modules["uwsgi"].opt
    return {key.decode() if isinstance(key, bytes) else key for key in options}
