"""Guards protect pages, scripts, files and WebSockets."""

from __future__ import annotations

import hashlib

from ..support.html import tokens_in
from ..support.servers import LiveServer
from ..support.visitors import Visitor

APP = "tests.live_apps.guarded:create_app()"


def test_login_guard_redirects_pages_and_refuses_upgrades(site: LiveServer) -> None:
    """login_required in a guard redirects pages to login and refuses upgrades before any 101."""
    anonymous, ann = Visitor(site), Visitor(site).log_in("ann")
    refused = anonymous.get("/show/private")
    assert (refused.status, refused.headers["Location"].split("?")[0]) == (302, "/login")
    token = ann.token("/show/private")
    assert ann.status(token, "/private") == 101
    ann.get("/logout")
    with ann.upgrade(token, "/private") as upgraded:
        assert upgraded.status in (302, 403)
        assert "101" not in upgraded.head


def test_role_change_applies_to_pages_and_new_websockets(site: LiveServer) -> None:
    """A guard checks the page and each new WebSocket; open ones end with close_sessions()."""
    anonymous, ann = Visitor(site), Visitor(site).log_in("ann")
    assert anonymous.get("/show/admin").status == 401
    assert ann.get("/show/admin").status == 403
    ann.get("/role/ann/admin")
    token = ann.token("/show/admin")
    with ann.upgrade(token, "/admin") as upgraded:
        assert upgraded.status == 101
        ann.get("/role/ann/nothing")
        assert ann.status(token, "/admin") == 403
        assert ann.get("/bokeh/admin/ws", Bokeh_Session_Token=token).status == 403
        assert upgraded.alive
        assert int(ann.get("/close/ann").text) >= 1
        assert upgraded.close_code() == 1008
    ann.get("/role/ann/admin")
    assert ann.status(token, "/admin") == 410
    assert ann.status(ann.token("/show/admin"), "/admin") == 101


def test_guard_can_read_the_visit_and_return_a_response(site: LiveServer) -> None:
    """A guard can read the visit and return its own response."""
    ann = Visitor(site).log_in("ann")
    assert ann.get("/show/owned?owner=ann").status == 200
    refused = ann.get("/show/owned?owner=bob")
    assert (refused.status, refused.headers["Location"]) == (302, "/login/nobody")


def test_guarded_page_script_and_websocket_need_its_guard(site: LiveServer) -> None:
    """The page, script, metadata and WebSocket of an application require its guard."""
    anonymous, ann = Visitor(site), Visitor(site).log_in("ann")
    script = "autoload.js?bokeh-autoload-element=e"
    for path in ("", "/metadata", f"/{script}"):
        assert anonymous.get(f"/bokeh/members{path}").status == 403
        assert ann.get(f"/bokeh/members{path}").status == 200
    (token,) = tokens_in(ann.get("/bokeh/members").text)
    assert ann.status(token, "/members") == 101


def test_files_have_the_guard_of_their_application(site: LiveServer) -> None:
    """Visitors whom the guard admits get the files, which shared caches may not store."""
    ann = Visitor(site).log_in("ann")
    version = hashlib.sha512(b"of files\n").hexdigest()
    answer = ann.get(f"/bokeh/files/static/own.txt?v={version}")
    assert answer.text == "of files\n"
    assert "private" in answer.headers["Cache-Control"]
    assert "public" not in answer.headers["Cache-Control"]
    plain = ann.get("/bokeh/files/static/own.txt").headers["Cache-Control"]
    assert "private" in plain
    assert "public" not in plain
    version = hashlib.sha512(b"of others\n").hexdigest()
    public = ann.get(f"/bokeh/others/static/own.txt?v={version}").headers["Cache-Control"]
    assert "public" in public
