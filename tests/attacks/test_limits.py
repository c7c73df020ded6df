"""Limits of sessions when many clients connect at once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ..support.servers import Live
from ..support.visitors import Upgraded, Visitor
from ..support.waiting import eventually

APP = "tests.live_apps.guarded:create_app()"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"BOKEH_MAX_SESSIONS": 5}, "as many plots as it can"),
        ({"BOKEH_MAX_SESSIONS_PER_USER": 5}, "You have as many plots open"),
        ({"BOKEH_MAX_SESSIONS_PER_ADDRESS": 5}, "from your network address"),
        ({"BOKEH_MAX_SESSION_RATE": 5}, "in a short time"),
    ],
)
def test_concurrent_clients_cannot_exceed_a_limit(
    live: Live, limits: dict[str, int], message: str
) -> None:
    """Of 20 concurrent clients, five are admitted, the rest get a 503 and the site still works."""
    site = live("gunicorn-gthread", APP, config=limits, clean=False)
    visitor = Visitor(site).log_in("ann")
    tokens = [visitor.token() for _ in range(20)]
    barrier = threading.Barrier(20)

    def open_one(token: str) -> Upgraded:
        barrier.wait(60)
        return visitor.upgrade(token)

    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        opened = [stack.enter_context(one) for one in pool.map(open_one, tokens)]
        statuses = sorted(one.status for one in opened)
        assert statuses == [101] * 5 + [503] * 15
        eventually(lambda: json.loads(visitor.get("/stats").text)["sessions"] == 5, "five sessions")
        by_status = dict(zip([one.status for one in opened], tokens, strict=True))
        answer = visitor.get("/bokeh/open/ws", Bokeh_Session_Token=by_status[503])
        assert answer.status == 503
        assert message in answer.text
        page = visitor.get("/mine")
        assert page.status == 503
        assert message in page.text
        assert visitor.get("/bokeh/page").status == 503
        assert visitor.get("/plain").text == "plain"
        assert json.loads(visitor.get("/stats").text)["sessions"] == 5
        # A session that was admitted may be reopened.
        assert visitor.status(by_status[101]) == 101
    site.until_logged(f"{next(iter(limits))} is 5")


def test_reservation_is_released_after_end_or_refusal(live: Live) -> None:
    """The end of a session and the refusal of an upgrade release the reservation.

    The clients disconnect before their session exists; Bokeh notices it at its next ping.
    """
    config = {
        "BOKEH_MAX_SESSIONS": 2,
        "BOKEH_UNUSED_SESSION_LIFETIME": 0.5,
        "BOKEH_SERVER_OPTIONS": {"keep_alive_milliseconds": 500},
    }
    site = live("gunicorn-sync", APP, config=config, clean=False)
    visitor = Visitor(site)
    tokens = [visitor.token() for _ in range(8)]
    for token in tokens[:4]:
        with visitor.send(visitor.head(token) + b"early") as refused:  # 400, after the checks
            assert refused.status == 400
    for token in tokens[4:6]:
        assert visitor.status(token) == 101
    eventually(lambda: visitor.status(tokens[6]) == 101, "a free reservation")
