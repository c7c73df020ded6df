"""Live Bokeh applications as a first-class part of a Flask site."""

from __future__ import annotations

from importlib.metadata import version

from .bokeh_api import version as bokeh_version  # noqa: F401  # first: the others need a Bokeh that they know
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
from .security.document_visit import visit
from .security.visit import Visit
from .server.pulled_session import PulledSession

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
