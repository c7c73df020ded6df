"""The cookie that tells the browsers of anonymous visitors apart: a signed random ID."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

from flask import Response, current_app, request
from itsdangerous import BadSignature, Signer

from ..errors import EmbedError
from .request_state import request_state
from .response_headers import forbid_storing

__all__ = ("BrowserCookie",)


class BrowserCookie:
    """Reads and sets the browser cookie.

    All sites of a host share their cookies, on any port. So the name of the cookie contains a hash
    of the site's key; under an older key's name, the cookies of that time are found.

    :param keys: returns the keys of the site's tokens, newest first.
    """

    def __init__(self, keys: Callable[[], tuple[bytes, ...]]) -> None:
        self._keys = keys

    def read(self) -> list[str]:
        """Return the valid IDs in the request, starting with the one to bind new tokens to.

        There should be one at most. But another site on the same host or on a parent domain may
        set cookies of this name, valid or not. Browsers send cookies with longer paths first, so
        the last one is sent with every request of the site.
        """
        signer = self._signer()
        browser_ids: dict[str, None] = {}
        for key in self._keys():
            for value in reversed(request.cookies.getlist(_cookie_name(key))):
                with suppress(BadSignature):
                    browser_ids[signer.unsign(value).decode()] = None
        return list(browser_ids)

    def read_or_set(self) -> list[str]:
        """Return the valid IDs in the request, or a new one that the response will set.

        :raises EmbedError: if the headers of the response have been sent.
        """
        if browser_ids := self.read():
            return browser_ids
        state = request_state()
        if state.new_browser_id is None:
            if state.headers_sent:
                raise EmbedError(
                    "A streamed page can't show a plot to a visitor without a user: its headers, "
                    "and so the cookie that the plot needs, have been sent. Log visitors in, do "
                    "not stream this page, or set BOKEH_BIND_BROWSER = False."
                )
            state.new_browser_id = secrets.token_urlsafe(16)
        return [state.new_browser_id]

    def write(self, response: Response) -> None:
        """Set the cookie in a response, if this request has created an ID."""
        browser_id = request_state().new_browser_id
        if browser_id is None:
            return
        forbid_storing(response)  # a cache would give the same ID to several browsers
        response.set_cookie(
            _cookie_name(self._keys()[0]),
            self._signer().sign(browser_id).decode(),
            path=current_app.session_interface.get_cookie_path(current_app),
            secure=request.is_secure or current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite=current_app.config["SESSION_COOKIE_SAMESITE"] or "Lax",
        )

    def _signer(self) -> Signer:
        # itsdangerous signs with the last key, and verifies with all of them.
        return Signer(list(reversed(self._keys())), salt=b"flask_bokeh browser")


def _cookie_name(key: bytes) -> str:
    return f"bokeh_browser_{sha256(b'flask_bokeh cookie' + key).hexdigest()[:8]}"
