"""``flask bokeh check``, and promises that only ``flask bokeh run`` makes."""

from __future__ import annotations

import json
import re
import select
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from bokeh.document import Document
from bokeh.models import Div
from flask import Flask

from flask_bokeh import FlaskBokeh

from .support.servers import SITE, Live, LiveServer
from .support.sockets import connect
from .support.waiting import eventually

SMALL = {"MAX_CONTENT_LENGTH": 1000}


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> Flask:
    app.config["BOKEH_RUNTIME_DIR"] = str(tmp_path)
    bokeh.add_application("/good", lambda doc: doc.add_root(Div(text="good")))
    bokeh.init_app(app)
    return app


def test_check_of_a_good_site_exits_with_0(site: Flask) -> None:
    """The command prints no problem, and a line for each application."""
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 0, result.output
    assert "PROBLEM" not in result.output
    assert re.search(r"ok      /good: \d+ ms, 1 root; no guards\n", result.output)
    assert "shows nothing" not in result.output
    assert "gunicorn" in result.output


def test_check_includes_guarded_applications(site: Flask, bokeh: FlaskBokeh) -> None:
    """The line of an application has the number of its guards."""
    bokeh.guard("/good")(lambda: False)
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 0, result.output
    assert re.search(r"ok      /good: .*; 1 guard\n", result.output)
    assert "set TRUSTED_HOSTS" in result.output
    site.config["TRUSTED_HOSTS"] = ["example.org"]
    assert "TRUSTED_HOSTS" not in site.test_cli_runner().invoke(args=["bokeh", "check"]).output


def test_check_refuses_a_guard_without_an_application(app: Flask, bokeh: FlaskBokeh) -> None:
    """A guard for a path without an application would protect nothing."""
    bokeh.add_application("/good", lambda doc: None)
    bokeh.guard("/god")(lambda: False)
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "guard('/god') has no application. Registered: /good." in result.output


def test_check_of_a_bad_site_prints_each_problem(site: Flask, bokeh: FlaskBokeh) -> None:
    """The command prints a line for each problem, and exits with 1."""

    def raises(doc: Document) -> None:
        raise LookupError("no data")

    shared = Div(text="made once")
    bokeh.add_application("/bad", raises)
    bokeh.add_application("/shared", lambda doc: doc.add_root(shared))
    bokeh.add_application("/empty", lambda doc: None)
    site.secret_key = None
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM no key signs the session tokens: set SECRET_KEY" in result.output
    assert "PROBLEM /bad: The application /bad raised LookupError: no data" in result.output
    assert (
        "PROBLEM /shared: The application /shared raised RuntimeError: Models must" in result.output
    )
    assert "/empty shows nothing until it calls doc.add_root(...)" in result.output
    assert "ok      /good" in result.output


def test_check_says_why_the_server_does_not_start(app: Flask, bokeh: FlaskBokeh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app.config["BOKEH_SERVER_OPTIONS"] = {"port": taken.getsockname()[1]}
        bokeh.init_app(app)
        result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM The Bokeh server did not start" in result.output


@pytest.mark.live
def test_run_says_that_its_port_is_in_use() -> None:
    """The error is a sentence, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError) as caught:
            LiveServer("flask-bokeh-run", SITE, {}, [], port)
    assert f"Error: Can't listen on 127.0.0.1:{port}: " in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_run_completes_responses_when_it_is_stopped(live: Live) -> None:
    """A page that is being rendered when the server is told to stop is still sent."""
    from concurrent.futures import ThreadPoolExecutor

    site = live("flask-bokeh-run", clean=False)
    site.get("/stats")
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(site.get, "/sleep")
        eventually(lambda: "begins to sleep" in site.log, "the view")
        site.stop()
        assert page.result(60) == "slept"


def test_run_passes_bodies_and_no_underscored_headers(live: Live) -> None:
    """Plain and chunked bodies arrive; a header with an underscore can't replace another one."""
    site = live("flask-bokeh-run", "tests.live_apps.echo:create_live_app()")
    head = f"POST /a/b?c=1 HTTP/1.1\r\nHost: {site.address}\r\nConnection: close\r\n"
    bodies = {
        "Content-Length: 5\r\n\r\nhello": "hello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": "hello",
        "X_Forwarded_For: 1.2.3.4\r\n\r\n": "",
    }
    for rest, body in bodies.items():
        with site.open_connection() as sock:
            sock.sendall((head + rest).encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 200"), answer
        method, path, query, headers, got = json.loads(answer.partition("\r\n\r\n")[2])
        assert (method, path, query, got) == ("POST", "a/b", "c=1", body)
        assert "X-Forwarded-For" not in dict(headers)


def test_run_logs_each_request_once(live: Live) -> None:
    """A WebSocket has one line in the log, with the URL that the browser requested."""
    site = live("flask-bokeh-run")
    with connect(site, "/hooked", site.token("/hook"), query="a=1"):
        site.until_logged(" INFO 101 GET /bokeh/hooked/ws?a=1 ")
    site.until_logged(" INFO 200 GET /hook ")
    assert site.log.count("/hooked/ws") == 1
    assert "bokeh.server" not in site.log


def test_run_opens_websockets_when_responses_are_replaced(live: Live) -> None:
    """A site may replace each response object in ``after_request``."""
    site = live("flask-bokeh-run", config={"NEW_RESPONSE": True})
    with connect(site, "/hooked", site.token("/hook")) as client:
        assert client.titles() == ["for None 2024 Lyon"]


def test_run_answers_503_when_too_many_requests_wait(live: Live) -> None:
    """With one thread, a hundred requests may wait; more get a 503 at once."""
    config = {"BOKEH_STOP_TIMEOUT": 0.5}
    site = live("flask-bokeh-run", config=config, args=["--threads", "1"], clean=False)
    with ExitStack() as stack:
        sockets = [stack.enter_context(site.open_connection()) for _ in range(101)]
        for sock in sockets:
            sock.sendall(f"GET /sleep HTTP/1.1\r\nHost: {site.address}\r\n\r\n".encode())
        readable, _, _ = select.select(sockets, [], [], 10)
        assert b" 503 " in readable[0].recv(100)
        site.stop()


@pytest.mark.parametrize("length", [b"Content-Length: 2000", b"Transfer-Encoding: chunked"])
def test_run_refuses_too_long_bodies(module_live: Live, length: bytes) -> None:
    """A body over MAX_CONTENT_LENGTH gets a 400 response, and the site does not see the request."""
    site = module_live("flask-bokeh-run", config=SMALL, clean=False)
    with site.open_connection() as sock:
        head = f"POST /cut HTTP/1.1\r\nHost: {site.address}\r\n".encode()
        body = b"7D0\r\n" + b"x" * 2000 if b"chunked" in length else b"x" * 2000
        sock.sendall(head + length + b"\r\n\r\n" + body)
        assert b" 400 " in sock.recv(100)
    assert "POST /cut" not in site.log
    assert "Traceback" not in site.log


def test_check_warns_about_too_few_descriptors(
    site: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hint says that the process has fewer descriptors than sessions are allowed."""
    monkeypatch.setattr("flask_bokeh.checks.max_client_fd", lambda: 230)
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert "230 sockets of plots fit into the process" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize("server", ["granian", "hypercorn"])
def test_check_names_servers_that_need_a_port(
    site: Flask, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """An installed server whose sockets can't be hijacked is named, with the setting to use."""
    monkeypatch.setattr("flask_bokeh.checks.find_spec", lambda name: name == server)
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert f"{server} does not hand out sockets: set BOKEH_TRANSPORT = 'port'" in result.output


def test_run_answers_400_to_a_malformed_host(module_live: Live) -> None:
    """A malformed Host header does not make the connection hang."""
    site = module_live("flask-bokeh-run", config=SMALL, clean=False)
    with site.open_connection() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a:b\r\nConnection: close\r\n\r\n")
        assert b" 400 " in sock.recv(100)
