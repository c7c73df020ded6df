"""``flask bokeh check``; ``run`` is in the matrix of test_servers, ``nginx`` in test_nginx."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from bokeh.document import Document
from flask import Flask

from flask_bokeh import FlaskBokeh

from .conftest import SITE, Live, LiveServer, eventually


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh, tmp_path: Path) -> Flask:
    app.config["BOKEH_SOCKET_DIR"] = str(tmp_path)
    bokeh.add_application("/good", lambda doc: None)
    bokeh.init_app(app)
    return app


def test_check_a_good_site(site: Flask) -> None:
    """Every line is ok, and so is the exit code."""
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 0, result.output
    assert "PROBLEM" not in result.output
    assert "ok      /good: a session, 0 roots" in result.output
    assert "gunicorn" in result.output


def test_check_looks_behind_the_guards(site: Flask, bokeh: FlaskBokeh) -> None:
    """A guarded application is tried all the same, and the line says that it has a guard."""
    bokeh.guard("/good")(lambda: False)
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 0, result.output
    assert re.search(r"ok      /good: .*; 1 guard\n", result.output)
    assert "set TRUSTED_HOSTS" in result.output
    site.config["TRUSTED_HOSTS"] = ["example.org"]
    assert "TRUSTED_HOSTS" not in site.test_cli_runner().invoke(args=["bokeh", "check"]).output


def test_check_a_guard_of_nothing(app: Flask, bokeh: FlaskBokeh) -> None:
    """A guard for a path where no application is would guard nothing, so nothing starts."""
    bokeh.add_application("/good", lambda doc: None)
    bokeh.guard("/god")(lambda: False)
    bokeh.init_app(app)
    result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "guard('/god') has no application. Registered: /good." in result.output


def test_check_a_bad_site(site: Flask, bokeh: FlaskBokeh) -> None:
    """What is wrong is said, line by line, and the exit code is 1."""

    def raises(doc: Document) -> None:
        raise LookupError("no data")

    bokeh.add_application("/bad", raises)
    site.secret_key = None
    result = site.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM a key signs the session tokens" in result.output
    assert "PROBLEM /bad: The application /bad raised LookupError: no data" in result.output
    assert "ok      /good" in result.output


def test_check_a_server_that_does_not_start(app: Flask, bokeh: FlaskBokeh) -> None:
    """The cause is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app.config["BOKEH_SERVER_OPTIONS"] = {"port": taken.getsockname()[1]}
        bokeh.init_app(app)
        result = app.test_cli_runner().invoke(args=["bokeh", "check"])
    assert result.exit_code == 1
    assert "PROBLEM The Bokeh server did not start" in result.output


def test_run_on_a_port_that_is_taken() -> None:
    """A sentence, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(RuntimeError) as caught:
            LiveServer("flask-bokeh-run", SITE, {}, ["--port", port])
    assert f"Error: Can't listen on 127.0.0.1:{port}: " in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_run_finishes_what_it_answers(live: Live) -> None:
    """A page that is being made when the server is told to stop is still sent."""
    from concurrent.futures import ThreadPoolExecutor

    site = live("flask-bokeh-run", clean=False)
    site.get("/stats")
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(site.get, "/sleep")
        eventually(lambda: "begins to sleep" in site.log, "the view")
        site.stop()
        assert page.result(10) == "slept"


def test_run_is_a_proper_host(live: Live) -> None:
    """Bodies, chunked ones too, arrive; a header with an underscore can't pass for another."""
    site = live("flask-bokeh-run", "tests.live_apps.echo:create_live_app()")
    head = f"POST /a/b?c=1 HTTP/1.1\r\nHost: {site.address}\r\nConnection: close\r\n"
    bodies = {
        "Content-Length: 5\r\n\r\nhello": "hello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": "hello",
        "X_Forwarded_For: 1.2.3.4\r\n\r\n": "",
    }
    host, port = site.address.split(":")
    for rest, body in bodies.items():
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.sendall((head + rest).encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 200"), answer
        method, path, query, headers, got = json.loads(answer.partition("\r\n\r\n")[2])
        assert (method, path, query, got) == ("POST", "a/b", "c=1", body)
        assert "X-Forwarded-For" not in dict(headers)


def test_run_refuses_a_bad_host(live: Live) -> None:
    """A Host header that makes no sense is a 400, not a connection that hangs."""
    site = live("flask-bokeh-run", clean=False)
    host, port = site.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a:b\r\nConnection: close\r\n\r\n")
        assert b" 400 " in sock.recv(100)
