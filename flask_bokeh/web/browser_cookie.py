"""The cookie that tells browsers of anonymous visitors apart."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from hashlib import sha256

from flask import Response, current_app, request
from itsdangerous import BadSignature, Signer

from ..errors import EmbedError
from ..security.site import SENT

__all__ = ("BrowserCookie",)


_BROWSER = "flask_bokeh.browser"


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
