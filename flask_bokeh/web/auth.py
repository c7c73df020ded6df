"""The site's own authentication and access checks: user loader, Flask-Login and guards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flask import abort, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..applications.registrations import AppRegistrations
from ..errors import kind_of
from ..security.visit import Visit

__all__ = ("Guard", "GuardResponse", "UserLoader", "check_guards", "client_address", "load_user")

UserLoader = Callable[[], "str | None"]
Guard = Callable[..., Any]


def load_user(registrations: AppRegistrations) -> str | None:
    """Return the user of this request; None for an anonymous visitor.

    :raises TypeError: if the site's ``user_loader`` returns something other than a string or None.
    """
    loaders = registrations.user_loaders.for_path("")
    loader: UserLoader = loaders[-1] if loaders else _load_flask_login_user
    user = current_app.ensure_sync(loader)()
    if user is not None and not isinstance(user, str):
        raise TypeError(
            f"The user_loader {_name(loader)} returned {kind_of(user)}; expected a string or "
            "None. For a number, return str(number)."
        )
    return user or None


def check_guards(registrations: AppRegistrations, visit: Visit) -> None:
    """Run the guards of the visited application, and those of every application.

    :raises HTTPException: if a guard refuses: 403 if it returned False, else what it aborted with
        or the response that it returned.
    :raises TypeError: if a guard returns anything but a bool or a response.
    """
    for guard in registrations.guards.for_path(visit.path):
        arguments = [visit] if _takes_visit(guard) else []
        answer = current_app.ensure_sync(guard)(*arguments)
        if isinstance(answer, BaseResponse):
            raise GuardResponse(guard, visit.path, answer)
        if not isinstance(answer, bool):
            raise TypeError(
                f"The guard {_name(guard)} returned {kind_of(answer)}; expected True, "
                "False or a Response."
            )
        if not answer:
            abort(403)


def client_address() -> str | None:
    """Return the client's address; empty if the server does not know it, as on a unix socket.

    None if the request was not made by a server but by a script of the site.
    """
    is_served = "SERVER_SOFTWARE" in request.environ
    address: str | None = request.environ.get("REMOTE_ADDR", "" if is_served else None)
    return address


class GuardResponse(HTTPException):
    """A response that a guard returned, sent in place of the page.

    It has no ``code``, so the site's error handlers leave it alone. Outside a server, where
    nothing catches it, its message tells which guard has answered.
    """

    def __init__(self, guard: Guard, path: str, response: BaseResponse) -> None:
        target = f" to {response.location}" if response.location else ""
        description = f"The guard {_name(guard)} of {path} answered {response.status}{target}."
        super().__init__(description, response)

    def __str__(self) -> str:
        return str(self.description)


def _load_flask_login_user() -> str | None:
    """Return Flask-Login's user, if the site has set up Flask-Login."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    return str(current_user.get_id()) if current_user.is_authenticated else None


def _takes_visit(guard: Guard) -> bool:
    parameters = inspect.signature(guard).parameters.values()
    return any(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
        for one in parameters
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", kind_of(function))
