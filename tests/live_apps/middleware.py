"""The site behind WSGI middleware, which ``?middleware=...`` chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from flask import Flask, Response, request
from werkzeug.middleware.lint import LintMiddleware

from . import site

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


def create_app() -> Flask:
    app = site.create_app()
    inner: WSGI = app.wsgi_app
    kinds: dict[str, WSGI] = {
        "reads-the-body": reads_the_body(inner),
        "lint": LintMiddleware(inner),
        "copies": copies(inner),
        "never-closes": never_closes(inner),
        "writes-much": writes_much(inner),
    }

    def choose(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        (kind,) = parse_qs(environ["QUERY_STRING"]).get("middleware", [""])
        return kinds.get(kind, inner)(environ, start_response)

    app.wsgi_app = choose  # type: ignore[method-assign]

    @app.after_request
    def fails(response: Response) -> Response:
        if request.args.get("middleware") == "after-request-raises" and response.status_code == 101:
            raise LookupError("after_request")
        return response

    return app


def reads_the_body(inner: WSGI) -> WSGI:
    """Read the body, as a logger does."""

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        return inner(environ, start_response)

    return middleware


def copies(inner: WSGI) -> WSGI:
    """Pass a copied environ, another input stream and another start_response."""

    class Input:
        def __init__(self, body: Any) -> None:
            self.read = body.read

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        copied = {**environ, "wsgi.input": Input(environ["wsgi.input"])}

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Copied", "yes")], exc_info)

        return inner(copied, start)

    return middleware


def never_closes(inner: WSGI) -> WSGI:
    """Never close the response, against PEP 3333."""
    kept = []

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = inner(environ, start_response)
        kept.append(response)
        return list(response)

    return middleware


def writes_much(inner: WSGI) -> WSGI:
    """Respond with more than the buffer of a socket holds."""

    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        inner(environ, lambda *args: None)
        start_response("500 Internal Server Error", [("Content-Length", str(2**22))])
        return [b"x" * 2**22]

    return middleware
