"""Issue, authorize and revoke the session tokens of one Flask application."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any

from ..errors import SessionEndedError, TokenError
from ..settings import Settings
from .integration import Integration
from .keys import token_keys
from .principal import Principal
from .revocation import RevocationList
from .tokens import Token, TokenIssuer

__all__ = ("Authorizer",)


class Authorizer:
    """The one place where tokens are issued, authorized and revoked. Thread-safe.

    :param find_runtime_dir: returns the folder that the site's workers share; None without one.
    :param check_path: raises :class:`UnknownApplicationError` for a path without application.
    :param has_session: whether the session of a token exists in this process.
    """

    def __init__(
        self,
        settings: Settings,
        integration: Integration,
        *,
        find_runtime_dir: Callable[[], Path | None],
        check_path: Callable[[str], object],
        has_session: Callable[[Token], bool],
    ) -> None:
        self._settings = settings
        self._integration = integration
        self._check_path = check_path
        self._has_session = has_session
        self._issuers: list[TokenIssuer] = []
        self.revocations = RevocationList(find_runtime_dir, settings.token_max_age)
        """Records whose tokens have been revoked, and when."""

    @property
    def tokens(self) -> TokenIssuer:
        """The token issuer, created on first use: keys may be configured after ``init_app``."""
        if not self._issuers:
            # append() is atomic: all threads use the first issuer, and its random key.
            self._issuers.append(self._make_issuer())
        return self._issuers[0]

    @property
    def has_shared_key(self) -> bool:
        """True if a key is configured, so that several workers can sign and read tokens."""
        return bool(self._settings.secret_key or self._integration.secret_keys())

    def issue(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        principal: Principal | None = None,
        user: str | EllipsisType | None = ...,
        worker_id: str | None = None,
        skip_guards: bool = False,
    ) -> Token:
        """Issue a token for a new session of an application. Call it in a request.

        :param principal: the only one who may use the token; by default, the request's.
        :param user: the visiting user that the application sees; by default, the principal's.
        :param worker_id: the process that creates the session now; by default, the session is
            created when the browser connects, in any process.
        :param skip_guards: issue the token without running the guards.
        :raises UnknownApplicationError: listing the known paths.
        :raises ArgumentsError: if arguments or data can't travel in a token.
        """
        self._check_path(path)
        if principal is None:
            principal = self._integration.identify_or_set_cookie()
        token = self.tokens.mint(
            path,
            principal=principal,
            user=principal.user if isinstance(user, EllipsisType) else user,
            arguments=arguments,
            data=data,
            worker_id=worker_id,
        )
        if not skip_guards:
            self._integration.check_access(token.visit)
        return token

    def authorize(self, path: str, encoded: str, principal: Principal) -> Token:
        """Check that a principal may open an application with a token. Call it in a request.

        :returns: the decoded token.
        :raises TokenError: if the token is invalid, expired, or for somebody or something else.
        :raises SessionEndedError: if the token has been revoked.
        """
        token = self.tokens.read(encoded)
        if token.visit.path != path:
            raise TokenError("The session token is of another application.")
        if not self.tokens.belongs_to(token, principal):
            raise TokenError("The session token is of another user or browser.")
        if self.revocations.is_revoked(token):
            raise SessionEndedError("This session has been ended.")
        # Anybody who has a bearer token can use it, so it opens new sessions for minutes only.
        if token.subject is None and self.tokens.is_expired(token) and not self._has_session(token):
            raise TokenError("The session token has expired: reload the page.")
        self._integration.check_access(token.visit)
        return token

    def revoke_tokens(self, user: str) -> float:
        """Revoke all tokens that a user has been issued, in all workers of this machine.

        :returns: the time of the revocation, in seconds since the epoch.
        """
        now = time.time()
        self.revocations.revoke(self.subject_digests(user), now)
        return now

    def subject_digests(self, user: str) -> tuple[str, ...]:
        """Return the values that :attr:`Token.subject` can have for a user, one for each key."""
        return self.tokens.subject_digests(Principal(user=user))

    def _make_issuer(self) -> TokenIssuer:
        settings = self._settings
        return TokenIssuer(
            keys=token_keys(settings.secret_key, self._integration.secret_keys()),
            expiration=settings.token_expiration,
            max_age=settings.token_max_age,
            max_arguments_size=settings.max_arguments_size,
        )
