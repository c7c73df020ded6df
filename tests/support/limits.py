"""Limits of sessions, with a clock that tests set."""

from __future__ import annotations

from typing import Any

from flask_bokeh.security.limits import Limits
from flask_bokeh.security.principal import Principal
from flask_bokeh.security.revocation import RevocationList
from flask_bokeh.security.tokens import Token, TokenIssuer
from flask_bokeh.settings import Settings

ISSUER = TokenIssuer(keys=(b"a key",), expiration=300, max_age=3600, max_arguments_size=2048)
context = object()
ANN = Principal(user="ann", address="192.0.2.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(principal: Principal = ANN) -> Token:
    return ISSUER.mint("/x", principal=principal, user=principal.user)


def limits_of(clock: Clock, **settings: Any) -> Limits:
    return Limits(Settings(**settings), RevocationList(lambda: None, 60), clock)
