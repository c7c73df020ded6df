"""Who is asking, and may they? In requests only.

A visitor is a user of the site, as its ``user_loader`` or Flask-Login says; who is nobody in
particular is told from others by a cookie of ours. Guards are the site's own checks.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, abort, after_this_request, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..applications.registrations import Registrations
from ..errors import FlaskBokehError, kind_of
from ..security.principal import Principal
from ..security.visit import Visit
from .browser_cookie import BrowserCookie

__all__ = ("Access", "Guard", "UserLoader")

UserLoader = Callable[[], "str | None"]
Guard = Callable[..., Any]

logger = logging.getLogger("flask_bokeh")


class Access:
    """What one Flask application knows of visitors."""

    def __init__(self, registered: Callable[[], Registrations]) -> None:
        """:param registered: gives what is registered for this Flask application."""
        self._registered = registered

    def principal(self, cookie: BrowserCookie | None, *, page: bool = False) -> Principal:
        """Who sends this request.

        :param cookie: tells browsers from one another, where the site wants that.
        :param page: whether a browser without the cookie gets one.
        """
        user, browsers = self.user(), []
        if user is None and cookie is not None:
            browsers = cookie.need() if page else cookie.read()
        return Principal(
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
