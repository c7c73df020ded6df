"""Options of uWSGI, if it runs this process."""

from __future__ import annotations

import sys

__all__ = ("uwsgi_options", "uwsgi_threads_disabled")


def uwsgi_options() -> set[str]:
    """Return the names of the options that uWSGI was started with. Only in uWSGI."""
    options = sys.modules["uwsgi"].opt
    return {key.decode() if isinstance(key, bytes) else key for key in options}


def uwsgi_threads_disabled() -> bool:
    """Return whether this is uWSGI without ``enable-threads``: threads run in requests only."""
    return "uwsgi" in sys.modules and not uwsgi_options() & {"enable-threads", "threads"}
