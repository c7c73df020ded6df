"""Live Bokeh applications as a first-class part of a Flask site."""

from __future__ import annotations

from importlib.metadata import version

from . import bokeh_version as bokeh_version  # first: the others need a Bokeh that they know
from .errors import (
    ApplicationFailedError,
    ApplicationLoadError,
    ArgumentsError,
    ConfigError,
    EmbedError,
    FlaskBokehError,
    HandoffError,
    LimitError,
    LoopThreadError,
    NotInitializedError,
    RegistrationError,
    SerializationFailedError,
    ServerStartError,
    ServerStoppedError,
    SessionEndedError,
    SessionsNotEndedError,
    TokenError,
    UnknownApplicationError,
    WaitTimeoutError,
)
from .extension import FlaskBokeh
from .sessions import PulledSession
from .visits import Visit, visit

__all__ = (
    "ApplicationFailedError",
    "ApplicationLoadError",
    "ArgumentsError",
    "ConfigError",
    "EmbedError",
    "FlaskBokeh",
    "FlaskBokehError",
    "HandoffError",
    "LimitError",
    "LoopThreadError",
    "NotInitializedError",
    "PulledSession",
    "RegistrationError",
    "SerializationFailedError",
    "ServerStartError",
    "ServerStoppedError",
    "SessionEndedError",
    "SessionsNotEndedError",
    "TokenError",
    "UnknownApplicationError",
    "Visit",
    "WaitTimeoutError",
    "visit",
)

__version__ = version("flask-bokeh")
