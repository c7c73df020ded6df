"""Pages that wait for a session leave request threads to other pages."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from bokeh.server.server import Server

from flask_bokeh import LimitError
from flask_bokeh.runtime.long_waits import PATIENCE, LongWaits

from ..support.servers import Live, LiveServer
from ..support.waiting import eventually

APP = "tests.live_apps.waiting:create_app()"
PAGES = ["/direct", "/client", "/bokeh/waits"]
REFUSED = "BOKEH_MAX_WAITING_PAGES is 3"


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=80) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("kind", ["gunicorn-gthread", "flask-bokeh-run"])
def test_waiting_pages_leave_request_threads_to_others(live: Live, kind: str) -> None:
    """Three pages wait, others get a 503, and a page without a plot is answered meanwhile."""
    if kind == "flask-bokeh-run" and not hasattr(Server, "stop_async"):
        pytest.skip("Bokeh 3.9 fills documents on the loop, on which 'flask bokeh run' serves")
    site = live(kind, APP, clean=False)
    for path in PAGES:
        check_waiting_pages(site, path)


def check_waiting_pages(site: LiveServer, path: str) -> None:
    logged = site.log.count(REFUSED)
    with ThreadPoolExecutor(6) as pool:
        pages = [pool.submit(status_of, site.url + path) for _ in range(6)]
        eventually(lambda: sum(page.done() for page in pages) == 3, f"refusals of {path}")
        assert site.get("/plain") == "plain", path
        assert status_of(site.url + path) == 503, path  # at once
        site.get(f"/release{path}")
        assert sorted(page.result() for page in pages) == [200] * 3 + [503] * 3, path
    assert status_of(site.url + path) == 200, path
    eventually(lambda: site.log.count(REFUSED) > logged, f"the log of {path}")


def test_only_long_waits_are_counted() -> None:
    """A page counts from the end of PATIENCE until its wait ends."""
    waits = LongWaits(1)
    asked: list[float] = []

    def quick(seconds: float) -> bool:
        asked.append(seconds)
        waits.check()
        return True

    assert waits.wait(quick, 10)
    assert asked == [PATIENCE]

    def slow(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == 3

    assert waits.wait(slow, 10)
    assert asked[1:] == [PATIENCE, 10 - PATIENCE]
    waits.check()
    assert not waits.wait(lambda seconds: False, 1)
    waits.check()


def test_one_waiting_page_too_many_is_refused() -> None:
    """At the limit, new pages and pages whose wait becomes long are refused."""
    waits = LongWaits(1)
    entered, over = threading.Event(), threading.Event()

    def stuck(seconds: float) -> bool:
        if seconds == PATIENCE:
            return False
        entered.set()
        return over.wait(60)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(waits.wait, stuck, 30)
        assert entered.wait(60)
        with pytest.raises(LimitError):
            waits.check()
        with pytest.raises(LimitError):
            waits.wait(lambda seconds: False, 30)
        assert waits.wait(lambda seconds: True, 30)
        over.set()
        assert first.result(60)
    waits.check()


def test_limit_can_be_none_or_lowered() -> None:
    """None means no limit; a number can be lowered to one at least."""
    waits = LongWaits(None)
    waits.lower(1)
    assert waits.limit is None
    assert all(waits.begin() for _ in range(100))
    waits = LongWaits(3)
    waits.lower(0)
    assert waits.limit == 1
