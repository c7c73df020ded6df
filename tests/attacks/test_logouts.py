"""A logout ends all sessions of the user, in all workers."""

from __future__ import annotations

import json
import secrets
import signal
from contextlib import ExitStack

import pytest

from ..support.servers import Live, LiveServer
from ..support.visitors import Visitor
from ..support.waiting import eventually

APP = "tests.live_apps.guarded:create_app()"


def test_login_and_logout_invalidate_earlier_tokens(site: LiveServer) -> None:
    """The token of a page is refused after a login, a logout or a login as another user."""
    visitor = Visitor(site)
    before = visitor.token()
    assert visitor.status(before) == 101
    visitor.log_in("ann")
    assert visitor.status(before) == 403
    token = visitor.token()
    assert visitor.status(token) == 101
    visitor.get("/logout")
    assert visitor.status(token) == 403
    visitor.log_in("bob")
    assert visitor.status(token) == 403
    visitor.get("/logout")
    visitor.log_in("ann")
    assert visitor.status(token) == 410  # issued before her logout
    assert visitor.status(visitor.token()) == 101


def test_logout_revokes_tokens_in_workers_without_a_server(live: Live) -> None:
    """A logout revokes tokens in workers that start their Bokeh server or themselves later."""
    site = live("gunicorn-sync", APP, args=["-w", "2"])
    visitor = Visitor(site).log_in("ann")
    token = visitor.token()
    visitor.get("/logout")
    visitor.log_in("ann")
    assert [visitor.status(token) for _ in range(9)] == [410] * 9
    before = {json.loads(visitor.get("/stats").text)["pid"] for _ in range(20)}
    site.process.send_signal(signal.SIGHUP)
    eventually(lambda: json.loads(visitor.get("/stats").text)["pid"] not in before, "new workers")
    assert [visitor.status(token) for _ in range(9)] == [410] * 9
    assert visitor.status(visitor.token()) == 101


def test_logout_ends_sessions_of_the_user_in_all_workers(live: Live) -> None:
    """A logout ends all sessions of the user in every worker, and no sessions of others."""
    config = {"BOKEH_SECRET_KEY": secrets.token_hex(16)}
    site = live("gunicorn-gthread", APP, config=config, clean=False, args=["--workers", "3"])
    ann, bob = (Visitor(site).log_in(name) for name in ("ann", "bob"))
    with ExitStack() as stack:

        def open_all(visitor: Visitor, page: str, path: str, count: int) -> list:  # type: ignore[type-arg]
            opened = [visitor.upgrade(visitor.token(page), path) for _ in range(count)]
            assert [one.status for one in opened] == [101] * count
            return [stack.enter_context(one) for one in opened]

        of_ann = open_all(ann, "/show/open", "/open", 12) + open_all(ann, "/mine", "/other", 4)
        pulled_for_ann = open_all(bob, "/for/ann", "/other", 2)
        of_bob = open_all(bob, "/show/open", "/open", 6)
        pids: set[int] = set()

        def all_three() -> bool:
            pids.add(json.loads(bob.get("/stats").text)["pid"])
            return len(pids) == 3

        eventually(all_three, "the third worker")
        assert ann.get("/logout").text == "out"
        assert [one.close_code() for one in of_ann + pulled_for_ann] == [1008] * 18
        assert all(one.alive for one in of_bob)
        assert bob.get("/close/nobody").text == "0"
        assert int(bob.get("/close/bob").text) == 6
        assert [one.close_code() for one in of_bob] == [1008] * 6


@pytest.mark.parametrize(
    "kind", ["flask-bokeh-run", "werkzeug", "gunicorn-gevent", "gunicorn-sync"]
)
def test_logout_closes_sessions_on_other_servers(live: Live, kind: str) -> None:
    """A logout ends the user's sessions on each kind of server."""
    visitor = Visitor(live(kind, APP, clean=False)).log_in("ann")
    with visitor.upgrade(visitor.token()) as upgraded:
        assert upgraded.status == 101
        visitor.get("/logout")
        assert upgraded.close_code() == 1008
    assert "outlive" not in visitor.site.log
