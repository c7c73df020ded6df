"""Who is asking, and may they? In requests only.

A visitor is a user of the site, as its ``user_loader`` or Flask-Login says; who is nobody in
particular is told from others by a cookie of ours. Guards are the site's own checks.
"""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

from flask import Flask, Response, abort, after_this_request, current_app, request
from itsdangerous import BadSignature, Signer
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from .errors import EmbedError, FlaskBokehError, kind_of
from .registrations import Registrations
from .site import SENT
from .visits import Asker, Visit

__all__ = ("Access", "BrowserCookie", "Guard", "UserLoader")

UserLoader = Callable[[], "str | None"]
Guard = Callable[..., Any]

logger = logging.getLogger("flask_bokeh")

_BROWSER = "flask_bokeh.browser"


class Access:
    """What one Flask application knows of visitors."""

    def __init__(self, registered: Callable[[], Registrations]) -> None:
        """:param registered: gives what is registered for this Flask application."""
        self._registered = registered

    def asker(self, cookie: BrowserCookie | None, *, page: bool = False) -> Asker:
        """Who sends this request.

        :param cookie: tells browsers from one another, where the site wants that.
        :param page: whether a browser without the cookie gets one.
        """
        user, browsers = self.user(), []
        if user is None and cookie is not None:
            browsers = cookie.need() if page else cookie.read()
        return Asker(
            user=user,
            browser=next(iter(browsers), None),
            more_browsers=tuple(browsers[1:]),
            address=_address(),
        )

    def user(self) -> str | None:
        """The user of this request.

        :raises TypeError: if the site's ``user_loader`` returns something else.
        """
        loader = (self._registered().user_loaders.for_path("") or [_flask_login_user])[-1]
        user = current_app.ensure_sync(loader)()
        if user is not None and not isinstance(user, str):
            raise TypeError(
                f"The user_loader {_name(loader)} returned {kind_of(user)}; expected a string or "
                "None. For a number, return str(number)."
            )
        return user or None

    def check(self, visit: Visit) -> None:
        """Run the guards of the visited application, those of every application too.

        :raises HTTPException: if one refuses: 403 for False, else what it aborts with or returns.
        :raises TypeError: if one returns neither yes nor no.
        """
        for guard in self._registered().guards.for_path(visit.path):
            answer = current_app.ensure_sync(guard)(*([visit] if _wants_visit(guard) else []))
            if isinstance(answer, BaseResponse):
                raise GuardResponse(guard, visit.path, answer)
            if not isinstance(answer, bool):
                raise TypeError(
                    f"The guard {_name(guard)} returned {kind_of(answer)}; expected True, "
                    "False or a Response."
                )
            if not answer:
                abort(403)

    def follow_logouts(self, app: Flask) -> None:
        """End a user's sessions when Flask-Login logs the user out."""
        try:
            from flask_login import user_logged_out
        except ImportError:  # not installed, or of no use with this Flask
            return
        user_logged_out.connect(self._logged_out, app)

    def _logged_out(self, app: Flask, user: Any = None, **_: Any) -> None:
        # By now a loader of the site's own may know nobody any more.
        name = self.user() or (user is not None and user.get_id())
        if not name:
            return
        then = app.extensions["bokeh"].end_tokens(str(name))

        def end(response: Response) -> Response:
            # Once the browser knows: its pages try to come back as soon as their sessions end. On
            # another thread, because it may wait for other workers, nobody waits for it, and some
            # servers end a response on their own loop.
            @response.call_on_close
            def start() -> None:
                closer = app.extensions["bokeh"].closer
                closer.in_background(partial(_end_sessions, app, str(name), then))

            return response

        after_this_request(end)


class GuardResponse(HTTPException):
    """Sends a guard's response instead of the page, and says so where no server catches it.

    It has no ``code``, so that the site's error handlers leave the response alone.
    """

    def __init__(self, guard: Guard, path: str, response: BaseResponse) -> None:
        target = f" to {response.location}" if response.location else ""
        description = f"The guard {_name(guard)} of {path} answered {response.status}{target}."
        super().__init__(description, response)

    def __str__(self) -> str:
        return str(self.description)


class BrowserCookie:
    """The cookie that tells browsers without a user from one another: a random id, signed."""

    def __init__(self, keys: Callable[[], tuple[bytes, ...]]) -> None:
        """:param keys: those of the site's tokens; the first signs."""
        self._keys = keys

    def read(self) -> list[str]:
        """The ids that the browser sent and that are ours, the one to bind a page to first.

        There should be one. But another site of the same host, or of a domain above, can add
        cookies of the name, valid or not. A browser sends those for longer paths first: so the last
        is sent with every request of the site, and one that a page alone gets locks nobody out.
        """
        known: dict[str, None] = {}
        for name, signer in self._signers.items():
            for value in reversed(request.cookies.getlist(name)):
                with suppress(BadSignature):
                    known[signer.unsign(value).decode()] = None
        return list(known)

    def need(self) -> list[str]:
        """The ids of the browser; if it has none, one that the response will bring.

        :raises EmbedError: if the response has been sent.
        """
        if known := self.read():
            return known
        if _BROWSER not in request.environ:
            if SENT in request.environ:
                raise EmbedError(
                    "A streamed page can't show a plot to a visitor without a user: its headers, "
                    "and so the cookie that the plot needs, have been sent. Log visitors in, do "
                    "not stream this page, or set BOKEH_BIND_BROWSER = False."
                )
            request.environ[_BROWSER] = secrets.token_urlsafe(16)
        return [request.environ[_BROWSER]]

    @cached_property
    def _signers(self) -> dict[str, Signer]:
        # All sites of a host, on any port, share their cookies: so each has a name of its own.
        return {
            f"bokeh_browser_{sha256(b'flask_bokeh cookie' + key).hexdigest()[:8]}": Signer(
                key, salt=b"flask_bokeh browser"
            )
            for key in self._keys()
        }

    def write(self, response: Response) -> None:
        """Give the browser its id, if one was made in this request."""
        new = request.environ.get(_BROWSER)
        if new is None:
            return
        response.headers["Cache-Control"] = "no-store"  # one browser's id is no other's
        name, signer = next(iter(self._signers.items()))
        response.set_cookie(
            name,
            signer.sign(new).decode(),
            path=current_app.session_interface.get_cookie_path(current_app),
            secure=request.is_secure or current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite=current_app.config["SESSION_COOKIE_SAMESITE"] or "Lax",
        )


def _address() -> str | None:
    """The client's address: empty where the server does not know it, as on a unix socket.

    None where no server has made this request, but a script of the site's own.
    """
    served = "SERVER_SOFTWARE" in request.environ
    address: str | None = request.environ.get("REMOTE_ADDR", "" if served else None)
    return address


def _end_sessions(app: Flask, user: str, then: float) -> None:
    try:
        app.extensions["bokeh"].close_sessions(user, then)
    except Exception as error:  # nobody else would see it
        known = isinstance(error, FlaskBokehError)
        logger.warning("Sessions may outlive a logout: %s", error, exc_info=not known)


def _flask_login_user() -> str | None:
    """The user of Flask-Login, where the site has set that up."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    return str(current_user.get_id()) if current_user.is_authenticated else None


def _wants_visit(guard: Guard) -> bool:
    parameters = inspect.signature(guard).parameters.values()
    return any(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
        for one in parameters
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", kind_of(function))
