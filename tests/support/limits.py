"""Limits with a clock that tests move."""

from __future__ import annotations

from flask_bokeh.config import Settings
from flask_bokeh.ended import Ended
from flask_bokeh.limits import Limits
from flask_bokeh.tokens import TokenIssuer
from flask_bokeh.visits import Asker, Token

ISSUER = TokenIssuer(keys=(b"a key",), expiration=300, max_age=3600, max_arguments_size=2048)


context = object()


ANN = Asker(user="ann", address="192.0.2.1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(asker: Asker = ANN) -> Token:
    return ISSUER.mint("/x", asker=asker, user=asker.user)


def limits_of(clock: Clock, **settings: int) -> Limits:
    return Limits(Settings(**settings), Ended(lambda: None, 60), clock)
