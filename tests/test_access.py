"""Who is asking, and may they? In-process; the attacks are in ``test_security.py``."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bokeh.document import Document
from flask import Flask, Response, abort, redirect, render_template_string, request, session
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, login_user, logout_user
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from flask_bokeh import (
    EmbedError,
    FlaskBokeh,
    LimitError,
    LoopThreadError,
    RegistrationError,
    SessionEndedError,
    TokenError,
    Visit,
    WaitTimeoutError,
)
from flask_bokeh.security.limits import WAIT, Limits
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.revocation import RevocationList
from flask_bokeh.security.tokens import Token, TokenIssuer
from flask_bokeh.settings import Settings

from .conftest import eventually, tokens_in
from .test_views import upgrade


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh) -> FlaskClient:
    for path in ("/x", "/y"):
        bokeh.add_application(path, lambda doc: None)
    bokeh.init_app(app)

    @app.get("/show")
    def show() -> str:
        return render_template_string("{% bokeh '/x', a=1 %}")

    return app.test_client()


# --- users --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "user"), [("ann", "ann"), (None, None), ("", None)])
def test_a_user_loader(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, said: Any, user: Any
) -> None:
    """A string is a user; None and the empty string are nobody."""
    bokeh.user_loader(lambda: said)
    with app.test_request_context():
        assert app.extensions["bokeh"].new_token("/x").visit.user == user


def test_a_redirecting_guard_outside_of_a_view(
    bokeh: FlaskBokeh, app: Flask, site: FlaskClient
) -> None:
    """A test that renders a template itself reads which guard answered, and with what."""

    @bokeh.guard("/x")
    def members() -> Response:
        return redirect("/login")

    with app.test_request_context(), pytest.raises(HTTPException) as caught:
        bokeh.server_document("/x")
    assert str(caught.value).endswith("members of /x answered 302 FOUND to /login.")
    assert site.get("/show").location == "/login"


@pytest.mark.parametrize("user", ["ann", None])
def test_a_refusal_is_logged_with_user_and_address(
    bokeh: FlaskBokeh, site: FlaskClient, caplog: pytest.LogCaptureFixture, user: str | None
) -> None:
    """The log line of a refused WebSocket names the user and the client's address."""
    bokeh.user_loader(lambda: user)
    assert upgrade(site, "/bokeh/x/ws", "nonsense").status_code == 403
    who = "user 'ann'" if user else "a visitor without a user"
    assert f"Refused a WebSocket of /x to {who} at 127.0.0.1: " in caplog.text


def test_a_limit_is_logged_with_user_and_address(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """So does the line of a view that got no session."""

    @app.get("/full")
    def full() -> str:
        raise LimitError("max_sessions", 3, "full")

    bokeh.user_loader(lambda: "ann")
    assert site.get("/full").status_code == 503
    assert "Refused a session to user 'ann' at 127.0.0.1: BOKEH_MAX_SESSIONS is 3." in caplog.text


def test_a_user_loader_that_returns_a_number(
    bokeh: FlaskBokeh, app: Flask, site: FlaskClient
) -> None:
    """What is no string is refused, with what would be right."""

    @bokeh.user_loader
    def number() -> Any:
        return 7

    with app.test_request_context(), pytest.raises(TypeError, match=r"number returned 7; .*str\("):
        bokeh.server_document("/x")


def test_an_async_user_loader(bokeh: FlaskBokeh, app: Flask, site: FlaskClient) -> None:
    """Loaders and guards may be async, as views may."""

    @bokeh.user_loader  # type: ignore[arg-type]
    async def user() -> str:
        return "ann"

    @bokeh.guard()
    async def guard(visit: Visit) -> bool:
        return visit.user == "ann"

    with app.test_request_context():
        assert app.extensions["bokeh"].new_token("/x").visit.user == "ann"


def test_flask_logins_user_is_the_default(app: Flask, site: FlaskClient) -> None:
    """Where Flask-Login is set up, its user visits; nobody does who is not logged in."""

    class User(UserMixin):
        id = 7

    LoginManager(app).user_loader(lambda name: User())
    state = app.extensions["bokeh"]
    with app.test_request_context():
        assert state.new_token("/x").visit.user is None
    with app.test_request_context():
        login_user(User())
        assert state.new_token("/x").visit.user == "7"


def test_a_logout_where_the_loader_reads_the_session(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """Flask-Login has forgotten the user when it tells of a logout; the user's tokens end."""

    class User(UserMixin):
        id = "ann"

    LoginManager(app).user_loader(lambda name: User())
    bokeh.user_loader(lambda: session.get("_user_id"))

    @app.get("/in")
    def log_in() -> str:
        return str(login_user(User()))

    @app.get("/out")
    def log_out() -> str:
        return str(logout_user())

    site.get("/in")
    (token,) = tokens_in(site.get("/show").text)
    headers = {"Bokeh-Session-Token": token}
    assert site.get("/bokeh/x/ws", headers=headers).status_code == 204
    site.get("/out")
    site.get("/in")
    assert site.get("/bokeh/x/ws", headers=headers).status_code == 410


def test_a_session_for_somebody_else(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """A session pulled for another user is seen by who asked for it, and by nobody else."""
    bokeh.user_loader(lambda: request.headers.get("User"))
    state = app.extensions["bokeh"]
    with (
        app.test_request_context(headers={"User": "boss"}),
        bokeh.pull_session("/x", user="ann") as session,
    ):
        assert session.token.visit.user == "ann"
    with app.test_request_context(headers={"User": "ann"}), pytest.raises(TokenError):
        state.authorize("/x", session.token.encoded, state.site.principal())
    with app.test_request_context(headers={"User": "boss"}):
        state.authorize("/x", session.token.encoded, state.site.principal())


def test_keys_are_rotated(bokeh: FlaskBokeh) -> None:
    """A page of before a change of SECRET_KEY is good after it: its token, and its cookie."""

    def app_with(key: str, *older: str) -> Flask:
        app = Flask("rotating")
        app.secret_key = key
        app.config["SECRET_KEY_FALLBACKS"] = list(older)
        bokeh.init_app(app)

        @app.get("/show")
        def show() -> str:
            return render_template_string("{% bokeh '/x' %}")

        return app

    bokeh.add_application("/x", lambda doc: None)
    before, after, much_later = app_with("old"), app_with("new", "old"), app_with("new")
    page = before.test_client().get("/show")
    (token,) = tokens_in(page.text)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    for app, good in ((before, True), (after, True), (much_later, False)):
        state = app.extensions["bokeh"]
        with app.test_request_context(headers={"Cookie": cookie}):
            if good:
                state.authorize("/x", token, state.site.principal())
            else:
                with pytest.raises(TokenError, match="wrong signature"):
                    state.authorize("/x", token, state.site.principal())


def test_one_cookie_for_a_page(site: FlaskClient) -> None:
    """Several plots of a page are bound to one cookie; who has it gets no other."""
    page = site.get("/show")
    assert len(page.headers.getlist("Set-Cookie")) == 1
    assert "Set-Cookie" not in site.get("/show").headers


def test_pages_within_an_application_context(app: Flask, site: FlaskClient) -> None:
    """Each page has its own BokehJS and cookie where an application context is around them."""
    with app.app_context():
        pages = [app.test_client().get("/show") for _ in range(2)]
    for page in pages:
        assert page.text.count("bokeh.min.js") == 1
        assert "Set-Cookie" in page.headers


def test_a_streamed_page(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """Where the cookie would come too late, an error says so; a user needs none."""
    user: list[str] = []
    bokeh.user_loader(lambda: user[0] if user else None)

    @app.get("/streamed")
    def streamed() -> Response:
        from flask import stream_template_string

        return Response(stream_template_string("{% bokeh '/x' %}"))

    with pytest.raises(EmbedError, match="A streamed page"):
        _ = site.get("/streamed").text
    user.append("ann")
    page = site.get("/streamed")
    assert len(tokens_in(page.text)) == 1
    assert page.headers["Cache-Control"] == "no-store"


def test_a_streamed_page_that_may_be_stored(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient
) -> None:
    """A token does not go into it; streams without a plot are left alone."""
    bokeh.user_loader(lambda: "ann")

    @app.get("/streamed/<kind>")
    def streamed(kind: str) -> Response:
        from flask import stream_template_string

        if kind == "csv":
            return Response(iter(["a,b\n"]), mimetype="text/csv")
        return Response(
            stream_template_string("{% bokeh '/x' %}"), headers={"Cache-Control": "max-age=60"}
        )

    with pytest.raises(EmbedError, match="let it be stored"):
        _ = site.get("/streamed/html").text
    assert "Cache-Control" not in site.get("/streamed/csv").headers


def test_a_page_that_brings_a_cookie(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """It is not stored either, also if it shows no plot or is refused."""

    @app.get("/pulled")
    @bokeh.with_session("/x")
    def pulled(bokeh_session: object) -> str:
        return "pulled"

    bokeh.guard("/y")(lambda: False)

    @app.get("/refused")
    def refused() -> str:
        return str(bokeh.server_document("/y"))

    for path, status in (("/pulled", 200), ("/refused", 403)):
        page = app.test_client().get(path)
        assert page.status_code == status
        assert "Set-Cookie" in page.headers
        assert page.headers["Cache-Control"] == "no-store"


# --- guards -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda: True, 200),
        (lambda: False, 403),
        (lambda: abort(404), 404),
        (lambda: redirect("/login"), 302),
        (lambda visit: visit.arguments == {"a": "1"}, 200),
        (lambda visit=None: visit is None, 200),
    ],
)
def test_guards(bokeh: FlaskBokeh, site: FlaskClient, answer: Any, status: int) -> None:
    """A guard says yes, no, or what the page is instead; with or without the visit."""
    assert bokeh.guard("/x")(answer) is answer
    bokeh.guard("/y")(lambda: False)
    assert site.get("/show").status_code == status


def test_a_guard_that_forgets_to_answer(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """Neither yes nor no is an error, and lets nobody in."""

    @bokeh.guard()
    def forgetful() -> Any:
        return None

    with app.test_request_context(), pytest.raises(TypeError, match="forgetful returned None"):
        bokeh.server_document("/x")


def test_all_guards_are_asked(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """Those of every application and the application's own, until one refuses."""
    asked: list[str] = []
    bokeh.guard()(lambda: asked.append("all") or True)
    bokeh.guard("/x")(lambda: asked.append("x") or abort(401))
    bokeh.guard("/x")(lambda: asked.append("too late") or True)
    with app.test_request_context(), pytest.raises(Unauthorized):
        bokeh.server_document("/x")
    assert asked == ["all", "x"]


def test_a_guard_comes_before_the_session(app: Flask, bokeh: FlaskBokeh, site: FlaskClient) -> None:
    """pull_session makes nothing for whom a guard refuses."""
    bokeh.guard()(lambda: False)
    with app.test_request_context(), pytest.raises(Forbidden), bokeh.pull_session("/x"):
        pytest.fail("unreachable")
    assert app.extensions["bokeh"].server()._server.get_sessions() == []


@pytest.mark.parametrize(("path", "guard"), [("x", lambda: True), ("/x", "no function")])
def test_bad_guards(bokeh: FlaskBokeh, path: str, guard: Any) -> None:
    """A guard is a function, for a path that starts with a slash."""
    with pytest.raises(RegistrationError):
        bokeh.guard(path)(guard)


# --- limits -------------------------------------------------------------------------------------

ISSUER = TokenIssuer(keys=(b"a key",), expiration=300, max_age=3600, max_arguments_size=2048)
context = object()
ANN = Principal(user="ann", address="192.0.2.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()  # type: ignore[return-value]


def token(principal: Principal = ANN) -> Token:
    return ISSUER.mint("/x", principal=principal, user=principal.user)


def limits_of(clock: Clock, **settings: int) -> Limits:
    return Limits(Settings(**settings), RevocationList(lambda: None, 60), clock)


def test_a_place_that_is_not_used(clock: Clock) -> None:
    """A place that was taken for a session that never came is free after a while."""
    limits = limits_of(clock, max_sessions=1)
    never, other = token(), token()
    assert limits.reserve(never, ANN) is True
    assert limits.reserve(never, ANN) is False
    with pytest.raises(LimitError) as caught:
        limits.reserve(other, ANN)
    assert (caught.value.setting, caught.value.limit) == ("BOKEH_MAX_SESSIONS", 1)
    clock.now += WAIT + 1
    assert limits.reserve(other, ANN) is True
    limits.confirm(other, context)
    clock.now += 10 * WAIT
    with pytest.raises(LimitError):
        limits.confirm(never, context)
    limits.release(other.visit.session_id, context)
    limits.confirm(never, context)


def test_asking_takes_nothing(clock: Clock) -> None:
    """only_ask leaves place and rate as they are."""
    limits = limits_of(clock, max_sessions=1, max_session_rate=1)
    for _ in range(5):
        limits.reserve(token(), ANN, only_ask=True)
    limits.reserve(token(), ANN)
    with pytest.raises(LimitError):
        limits.reserve(token(), ANN, only_ask=True)


def test_the_rate_comes_back(clock: Clock) -> None:
    """So many a minute: all at once, then one after the other as time goes by."""
    limits = limits_of(clock, max_session_rate=60)
    for _ in range(60):
        limits.reserve(token(), ANN)
    with pytest.raises(LimitError, match="wait a minute"):
        limits.reserve(token(), ANN)
    bob = Principal(user="bob", address="192.0.2.1")
    limits.reserve(token(bob), bob)
    nobody = Principal(browser="b", address="192.0.2.1")
    limits.reserve(token(nobody), nobody)
    clock.now += 2
    for _ in range(2):
        limits.reserve(token(), ANN)
    with pytest.raises(LimitError):
        limits.reserve(token(), ANN)


def test_visitors_without_a_user_share_the_rate_of_an_address(clock: Clock) -> None:
    """Who throws the cookie away stays at the same address."""
    limits = limits_of(clock, max_session_rate=3)
    for number in range(3):
        nobody = Principal(browser=str(number), address="192.0.2.1")
        limits.reserve(token(nobody), nobody)
    other = Principal(browser="other", address="192.0.2.1")
    with pytest.raises(LimitError):
        limits.reserve(token(other), other)
    limits.reserve(token(other), Principal(browser="other", address="192.0.2.2"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1:4000", "192.0.2.1:4001", True),  # as some proxies write it
        ("[2001:db8::1]:4000", "2001:db8::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),  # not known
        ("unknown", "unknown", True),
        ("", "192.0.2.1", False),
    ],
)
def test_what_counts_as_one_address(clock: Clock, one: str, other: str, same: bool) -> None:
    """An IPv6 customer has 2 to the 64 addresses, and is one address all the same."""
    for setting in ("max_session_rate", "max_sessions_per_address"):
        limits = limits_of(clock, **{setting: 1})
        first, second = (Principal(browser=name, address=name) for name in (one, other))
        limits.reserve(token(first), first)
        if same:
            with pytest.raises(LimitError):
                limits.reserve(token(second), second)
        else:
            limits.reserve(token(second), second)


def test_clients_of_a_unix_socket_are_one_address(app: Flask, bokeh: FlaskBokeh) -> None:
    """Where the server does not say who the client is; a script's own requests have no limit."""
    app.config["BOKEH_MAX_SESSIONS_PER_ADDRESS"] = 1
    bokeh.add_application("/x", lambda doc: None, page=True)
    bokeh.init_app(app)
    environ = {"SERVER_SOFTWARE": "gunicorn", "REMOTE_ADDR": ""}
    statuses = [
        app.test_client().get("/bokeh/x", environ_overrides=environ).status_code for _ in range(2)
    ]
    assert statuses == [200, 503]
    with app.test_request_context(), bokeh.pull_session("/x"), bokeh.pull_session("/x"):
        pass


def test_an_ended_session_does_not_come_back(clock: Clock) -> None:
    """Neither one that lives nor one that is about to be created; tokens of later are good."""
    ended = RevocationList(lambda: None, 60)
    limits = Limits(Settings(), ended, clock)
    lives, waits, other = token(), token(), token(Principal(user="bob"))
    for one in (lives, waits, other):
        limits.reserve(one, ANN)
    limits.confirm(lives, context)
    subject_digests, now = ISSUER.subject_digests(Principal(user="ann")), time.time()
    ended.add(subject_digests, now)
    later = token()
    limits.reserve(later, ANN)
    (reservation, _), news = limits.end(subject_digests, now)
    assert news == 2
    assert limits.end(subject_digests, now)[1] == 0
    assert reservation.session_id == lives.visit.session_id
    for one in (lives, waits):
        with pytest.raises(SessionEndedError):
            limits.reserve(one, ANN)
        with pytest.raises(SessionEndedError):
            limits.confirm(one, context)
    limits.confirm(other, context)
    limits.release(lives.visit.session_id, context)
    assert not limits.holds(reservation)
    with pytest.raises(SessionEndedError):
        limits.reserve(lives, ANN)
    assert limits.reserve(later, ANN) is False
    assert limits.reserve(token(), ANN) is True


def test_a_logout_is_known_to_all(tmp_path: Path) -> None:
    """Also to a worker that starts later, until every token of before is too old."""
    here, later = RevocationList(lambda: tmp_path, 3600), RevocationList(lambda: tmp_path, 3600)
    now = time.time()
    here.add(["ann"], now)
    assert here._since("ann") >= now - 1e-6
    assert later._since("ann") >= now - 1e-6
    assert later._since("bob") == 0
    here.add(["old"], now - 7200)
    later.add(["bob"], now)
    (folder,) = tmp_path.iterdir()  # that of old ones is gone
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(file.name for file in folder.iterdir()) == ["ann", "bob"]
    assert stat.S_IMODE((folder / "ann").stat().st_mode) == 0o600


def test_logouts_of_an_hour_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One counts until the tokens of before are too old, whatever the hour of the clock."""
    ended, start = RevocationList(lambda: tmp_path, 3600), time.time()
    ended.add(["ann"], start)
    other = RevocationList(lambda: tmp_path, 3600)
    monkeypatch.setattr(time, "time", lambda: start + 3599)
    other.add(["bob"], start + 3599)
    assert other._since("ann") >= start - 1e-6


def test_many_logouts(tmp_path: Path) -> None:
    """However many there were, the next one removes a few of the old ones only; all go in time."""
    now = time.time()
    ended = RevocationList(lambda: tmp_path, 3600)
    old = ended._marks(tmp_path, now - 8000)
    old.mkdir()
    for number in range(1000):
        (old / str(number)).touch()
    for number in range(5):
        ended.add([f"user {number}"], now)
    assert 0 < len(list(old.iterdir())) < 1000
    for number in range(10):
        ended.add([f"more {number}"], now)
    assert not old.exists()
    assert len(list(ended._marks(tmp_path, now).iterdir())) == 15


def test_a_logout_without_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is known in this process; if there should be a folder, the log tells."""
    alone = RevocationList(lambda: None, 3600)
    for number in range(1000):
        alone.add([f"old {number}"], 5.0)
    alone.add(["ann"], time.time())
    assert alone._since("ann") > 0
    assert len(alone._times) < 500
    assert caplog.text == ""
    gone = RevocationList(lambda: tmp_path / "gone", 3600)
    gone.add(["ann"], time.time())
    assert gone._since("ann") > 0
    assert "Other workers may not learn of a logout" in caplog.text


def test_a_seat_goes_with_its_own_session(clock: Clock) -> None:
    """A session that came back under its id keeps its reservation when the one before it ends."""
    limits = limits_of(clock, max_sessions=1)
    one, again = token(), object()
    limits.confirm(one, context)
    limits.confirm(one, again)
    limits.release(one.visit.session_id, context)
    with pytest.raises(LimitError):
        limits.reserve(token(), ANN)
    limits.release(one.visit.session_id, again)
    limits.reserve(token(), ANN)


def test_a_view_may_catch_a_limit(app: Flask, bokeh: FlaskBokeh) -> None:
    """LimitError is a 503, unless the view does better."""
    app.config["BOKEH_MAX_SESSIONS"] = 1
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)

    @app.get("/plain")
    def plain() -> str:
        with bokeh.pull_session("/x"):
            return "shown"

    @app.get("/careful")
    def careful() -> str:
        try:
            return plain()
        except LimitError as error:
            return f"later: {error.setting}"

    client = app.test_client()
    assert client.get("/plain").text == "shown"
    assert client.get("/plain").status_code == 503
    assert client.get("/careful").text == "later: BOKEH_MAX_SESSIONS"


def test_the_end_of_sessions_on_a_blocked_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """close_sessions waits for a bounded time; the sessions end when the loop is free."""
    app.config["BOKEH_STOP_TIMEOUT"] = 0.2
    bokeh.add_application("/x", lambda doc: None)
    bokeh.user_loader(lambda: "ann")
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    free = threading.Event()

    async def block() -> None:
        free.wait(10)

    with app.test_request_context():
        with bokeh.pull_session("/x"):
            pass
        server = state.server()
        server.loop.submit(block)
        with pytest.raises(WaitTimeoutError, match="a user's sessions to end"):
            bokeh.close_sessions(user="ann")
        assert len(server._server.get_sessions()) == 1
        free.set()
        eventually(lambda: not server._server.get_sessions(), "the end")
        assert bokeh.close_sessions(user="ann") == 0


def test_close_sessions_on_the_loop(app: Flask, bokeh: FlaskBokeh) -> None:
    """In a callback it would wait for itself, and says so."""
    bokeh.init_app(app)
    server = app.extensions["bokeh"].server()

    async def on_the_loop() -> None:
        with app.app_context():
            bokeh.close_sessions(user="ann")

    with pytest.raises(LoopThreadError, match="Ending a user's sessions blocks"):
        server.loop.call(on_the_loop, what="a test", timeout=5)


def test_a_limit_on_the_servers_own_port(app: Flask, bokeh: FlaskBokeh) -> None:
    """Where Flask does not see the WebSocket, the limit's message is in the plot's place."""
    app.config["BOKEH_MAX_SESSIONS"] = 1
    made: list[Document] = []
    bokeh.add_application("/x", made.append)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    with app.test_request_context():
        tokens = [state.new_token("/x") for _ in range(2)]
    server = state.server()

    async def create(token: Token) -> Document:
        return (await server.create_session(token, {})).document

    documents = [server.loop.call(create, token, what="a test", timeout=10) for token in tokens]
    assert made == documents[:1]
    assert "as many plots as it can" in documents[1].roots[0].text  # type: ignore[attr-defined]
