"""Failures of applications: the error box, the log, and Flask's signal."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.server.session import ServerSession
from flask import Flask, Response, got_request_exception, request

from flask_bokeh import ApplicationFailedError, ApplicationLoadError, FlaskBokeh, Visit

from ..support.waiting import eventually


def session_of(app: Flask, path: str) -> ServerSession:
    """Create the session that a browser would get for a page of this application."""
    state = app.extensions["bokeh"]
    with app.test_request_context():
        token = state.authorizer.issue(path)
    server = state.servers.get()

    async def create() -> Any:
        return await server.create_session(token, {})

    session: ServerSession = server.loop.call(create, what="a test", timeout=60)
    return session


def fills(doc: Document) -> None:
    doc.title = "good"


def box(session: ServerSession) -> str:
    (root,) = session.document.roots
    return str(root.text)  # type: ignore[attr-defined]


@pytest.fixture
def signalled() -> Any:
    """Return the exceptions that went through Flask's signal."""
    seen: list[BaseException] = []

    def remember(sender: Flask, exception: BaseException) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(remember):
        yield seen


def test_exception_of_an_application_is_reported(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture, signalled: list[Any]
) -> None:
    """The error box and the log share a reference, and Flask's signal has the exception."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        doc.add_periodic_callback(lambda: None, 10)
        doc.template = "{% block contents %}{{ roots.plot }}{% endblock %}"  # type: ignore[assignment]
        raise LookupError("secret detail")

    bokeh.init_app(app)
    session = session_of(app, "/x")
    assert session.document.session_callbacks == []
    assert [type(error) for error in signalled] == [LookupError]
    (record,) = [record for record in caplog.records if record.name == "flask_bokeh"]
    reference = record.getMessage().partition("reference ")[2][:8]
    assert reference in box(session)
    assert record.exc_info is not None
    assert record.exc_info[1] is signalled[0]
    assert "secret detail" not in box(session)


def test_debug_mode_shows_the_traceback(app: Flask, bokeh: FlaskBokeh) -> None:
    """In debug mode, the box has the escaped traceback."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        raise LookupError("<b>detail</b>")

    app.debug = True
    bokeh.init_app(app)
    html = box(session_of(app, "/x"))
    assert "LookupError: &lt;b&gt;detail&lt;/b&gt;" in html


def test_exception_of_a_script_is_reported(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, signalled: list[Any]
) -> None:
    """An exception of a script is reported too, although Bokeh keeps only its text."""
    (tmp_path / "script.py").write_text("1 / 0\n")
    bokeh.add_application("/x", tmp_path / "script.py")
    app.debug = True
    bokeh.init_app(app)
    assert "ZeroDivisionError" in box(session_of(app, "/x"))
    assert "division by zero" in str(signalled[0])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "broken.py does not exist"),
        ({"broken.py": "def ("}, "SyntaxError"),
        (
            {"broken/main.py": "", "broken/app_hooks.py": "import no_such_library"},
            "no_such_library",
        ),
        ({"broken/main.py": "", "broken/app_hooks.py": "raise SystemExit('enough')"}, "enough"),
    ],
    ids=["missing file", "syntax error", "import error", "sys.exit"],
)
def test_application_that_can_not_be_loaded_fails_alone(
    app: Flask,
    bokeh: FlaskBokeh,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    files: dict[str, str],
    message: str,
) -> None:
    """The other applications work; each session of this one shows the error box."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    bokeh.add_application("/good", fills)
    bokeh.add_application("/broken", tmp_path / ("broken" if len(files) > 1 else "broken.py"))
    bokeh.init_app(app)
    with app.test_request_context():
        assert "bokeh/good" in bokeh.server_document("/good")
        with bokeh.pull_session("/good") as good:
            assert good.document.title == "good"
        with (
            pytest.raises(ApplicationFailedError, match=f"(?s)/broken.*{message}") as caught,
            bokeh.pull_session("/broken"),
        ):
            pass
    assert isinstance(caught.value.__cause__, ApplicationLoadError)
    (loading,) = [line for line in caplog.messages if line.startswith("The Bokeh application")]
    assert "'/broken' can't be loaded" in loading
    assert message in loading
    for _ in range(2):
        caplog.clear()
        text = box(session_of(app, "/broken"))
        assert message not in text
        assert caplog.messages[0].partition("[reference ")[2][:8] in text
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM /broken: The application /broken raised ApplicationLoadError" in result.output
    assert "ok      /good" in result.output


@pytest.mark.parametrize("error", ["raise LookupError", "raise SystemExit(3)"])
def test_failing_lifecycle_hooks_affect_no_plot(
    app: Flask, bokeh: FlaskBokeh, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    """Life-cycle hooks that raise or exit do not affect any plot."""
    hooks = ("on_server_loaded", "on_server_unloaded", "on_session_created", "on_session_destroyed")
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(
            "from bokeh.io import curdoc\ncurdoc().title = 'x'"
        )
        bokeh.add_application(f"/{name}", tmp_path / name)
    code = "".join(f"def {hook}(context):\n    {error}\n" for hook in hooks)
    (tmp_path / "bad" / "app_hooks.py").write_text(code)
    bokeh.init_app(app)
    for name in ("bad", "good", "bad", "good"):
        assert session_of(app, f"/{name}").document.title == "x"
    with app.app_context():
        bokeh.stop()
    if "Exit" in error:
        for hook in hooks:
            assert f"{hook} called sys.exit(3)." in caplog.text


@pytest.mark.parametrize("page", [False, True], ids=["session", "page first"])
def test_sys_exit_of_an_application_shows_the_error_box(
    app: Flask, bokeh: FlaskBokeh, page: bool
) -> None:
    """sys.exit() in an application does not stop the server."""

    @bokeh.application("/x", page=True)
    def x(doc: Document) -> None:
        raise SystemExit(1)

    bokeh.init_app(app)
    if page:
        assert app.test_client().get("/bokeh/x").status_code == 200
    for _ in range(2):
        assert "could not be made" in box(session_of(app, "/x"))


def test_failing_hook_replaces_the_whole_plot(app: Flask, bokeh: FlaskBokeh) -> None:
    """The error box replaces all content, because it may be incomplete."""
    bokeh.add_application("/x", lambda doc: None)

    @bokeh.customize("/x")
    def good(doc: Document, visit: Visit) -> None:
        doc.title = "customized"

    @bokeh.customize("/x")
    def bad(doc: Document, visit: Visit) -> None:
        raise KeyError("x")

    bokeh.init_app(app)
    assert "could not be made" in box(session_of(app, "/x"))


def test_plain_box_replaces_a_broken_error_template(
    tmp_path: Path, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of the site's own template is logged."""
    (tmp_path / "templates" / "flask_bokeh").mkdir(parents=True)
    (tmp_path / "templates" / "flask_bokeh" / "error_box.html").write_text("{{ nope.nope }}")
    app = Flask("site", root_path=str(tmp_path))
    app.secret_key = "x" * 20

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        raise LookupError

    bokeh.init_app(app)
    assert box(session_of(app, "/x")) == "This plot could not be made."
    assert "The error box could not be rendered." in caplog.text


def test_error_box_is_rendered_without_context_processors(app: Flask, bokeh: FlaskBokeh) -> None:
    """A context processor that needs a request does not break the box."""

    @app.context_processor
    def needs_a_request() -> dict[str, str]:
        return {"path": request.path}

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        raise LookupError

    bokeh.init_app(app)
    assert "could not be made" in box(session_of(app, "/x"))


def test_error_of_a_pulled_session_is_reported_once(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture, signalled: list[Any]
) -> None:
    """The error of a pulled session is raised in the view, and reported once, by Flask."""

    @bokeh.application("/x")
    def x(doc: Document) -> None:
        raise LookupError

    bokeh.init_app(app)

    @app.get("/")
    @bokeh.with_session("/x")
    def index(bokeh_session: object) -> str:
        return ""

    assert app.test_client().get("/").status_code == 500
    assert [type(error).__name__ for error in signalled] == ["ApplicationFailedError"]
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [
        app.name
    ]


def test_token_of_another_application_shows_the_error_box(app: Flask, bokeh: FlaskBokeh) -> None:
    """On Bokeh's own port, a token opens its own application only."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.add_application("/y", lambda doc: None)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    with app.test_request_context():
        token = state.authorizer.issue("/x")
    server = state.servers.get()

    async def create() -> Any:
        context = server.bokeh.tornado.applications["/y"]
        return await context.create_session_if_needed(token.visit.session_id, None, token.encoded)

    session = server.loop.call(create, what="a test", timeout=60)
    assert "could not be made" in box(session)


def test_token_of_an_ended_pulled_session_shows_a_message(app: Flask, bokeh: FlaskBokeh) -> None:
    """On Bokeh's own port, the token of an ended pulled session creates no new session."""
    bokeh.add_application("/x", lambda doc: None)
    bokeh.init_app(app)
    state = app.extensions["bokeh"]
    server = state.servers.get()
    with app.test_request_context():
        token = state.authorizer.issue("/x", worker_id=server.worker_id)

    async def create() -> Any:
        return await server.create_session(token, {})

    told = box(server.loop.call(create, what="a test", timeout=60))
    assert told == "This pulled session has ended. Reload the page."


def test_after_request_of_the_site_runs(app: Flask, bokeh: FlaskBokeh) -> None:
    """The after_request functions of the site still run."""
    bokeh.init_app(app)

    @app.after_request
    def mark(response: Response) -> Response:
        response.headers["X-Mark"] = "1"
        return response

    assert app.test_client().get("/nope").headers["X-Mark"] == "1"


def test_blocked_loop_is_logged_once(
    app: Flask, bokeh: FlaskBokeh, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the function that blocks the loop."""
    app.config["BOKEH_SLOW_CALLBACK_DURATION"] = 0.2
    bokeh.init_app(app)

    async def compute() -> None:
        time.sleep(1)

    with app.app_context():
        bokeh.start()
        server = app.extensions["bokeh"].servers.get()
        server.loop.call(compute, what="a computation", timeout=60)
        eventually(lambda: "has been blocked for" in caplog.text, "the log")
        bokeh.stop()
    assert caplog.text.count("has been blocked for") == 1
    assert "in compute" in caplog.text
