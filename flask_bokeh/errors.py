"""Every exception that flask_bokeh raises, and what goes into their texts.

One root, :class:`FlaskBokehError`. Each leaf also inherits the builtin that a caller would
expect (a bad setting is a ``ValueError``, a wait that ran out is a ``TimeoutError``) and
carries the data a handler wants as attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class FlaskBokehError(Exception):
    """Root of all errors raised by flask_bokeh."""


class ConfigError(FlaskBokehError, ValueError):
    """One or more settings are wrong.

    :ivar problems: one sentence for each, naming the key, its value and what is accepted.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class NotInitializedError(FlaskBokehError, RuntimeError):
    """The Flask application in use has no flask_bokeh."""

    def __init__(self) -> None:
        super().__init__(
            "This Flask application has no flask_bokeh. Did you forget bokeh.init_app(app), "
            "or make two FlaskBokeh() instances and initialize the other one?"
        )


class RegistrationError(FlaskBokehError, ValueError):
    """An application, a hook or a guard was registered in a way that can't work."""


class UnknownApplicationError(FlaskBokehError, LookupError):
    """No application is registered under this path.

    :ivar path: the path that was asked for.
    :ivar known: the registered paths.
    """

    def __init__(self, path: str, known: Iterable[str]) -> None:
        self.path = path
        self.known = tuple(sorted(known))
        paths = ", ".join(self.known) or "none"
        super().__init__(f"No Bokeh application is registered at {path!r}. Registered: {paths}.")


class ApplicationLoadError(FlaskBokehError, RuntimeError):
    """An application's script, directory or notebook could not be loaded.

    :ivar path: the application's path.
    :ivar reason: what is wrong with its file.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"The Bokeh application at {path!r} can't be loaded: {reason}")


class ApplicationFailedError(FlaskBokehError, RuntimeError):
    """An application, or one of its hooks, raised while its document was filled.

    The original exception is ``__cause__``.

    :ivar path: the application's path.
    :ivar culprit: what raised, for a person: ``"The application /sliders"``,
        ``"The hook greet of /sliders"``.
    """

    def __init__(self, path: str, culprit: str, error: BaseException) -> None:
        self.path = path
        self.culprit = culprit
        super().__init__(f"{culprit} raised {type(error).__name__}: {error}")


class SerializationFailedError(ApplicationFailedError):
    """A document holds a value that can't be sent to a browser. The cause is ``__cause__``.

    The message names the model, its property and the type of the value, and not the value.
    """

    def __init__(self, path: str, culprit: str, error: BaseException) -> None:
        super().__init__(path, culprit, error)
        self.args = (
            f"The document of {path} can't be sent to a browser, because of {culprit}: {error}. "
            "Convert the value to what JSON has, such as float, str, list or dict.",
        )


class ScriptError(FlaskBokehError, RuntimeError):
    """A script, directory or notebook application failed; Bokeh kept only the text of why.

    :ivar detail: the traceback, as text.
    """

    def __init__(self, message: str, detail: str) -> None:
        self.detail = detail
        super().__init__(message)


class ServerStartError(FlaskBokehError, RuntimeError):
    """The Bokeh server of this process could not be started. The cause is ``__cause__``."""


class ServerStoppedError(FlaskBokehError, RuntimeError):
    """The Bokeh server of this process has been stopped, or was never started."""


class WaitTimeoutError(FlaskBokehError, TimeoutError):
    """A bounded wait ran out.

    :ivar what: what was waited for.
    :ivar seconds: how long.
    """

    def __init__(self, what: str, seconds: float, hint: str = "") -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(f"Waited {seconds:g} s for {what}.{' ' + hint if hint else ''}")


class SessionsNotEndedError(FlaskBokehError, RuntimeError):
    """Some sessions that should have ended may live on. Their tokens are refused all the same.

    :ivar reasons: what went wrong, for each worker.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"Some sessions of a user may not have ended: {'; '.join(reasons)}.")


class LoopThreadError(FlaskBokehError, RuntimeError):
    """A blocking call was made on the IOLoop's own thread, where it would wait for itself."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} blocks, and was called on the thread of the Bokeh server's IOLoop, "
            "which would wait for itself. Call it from a Flask view or from another thread."
        )


PUBLIC = {
    400: "This request can't open a WebSocket.",
    403: "This plot can't be opened here.",
    410: "This plot has ended.",
    431: "The headers of the request are too large.",
    501: "Plots can't be shown here.",
    503: "This site is busy. Please try again in a moment.",
}
"""Messages for clients, by HTTP status."""


class RefusedError(FlaskBokehError):
    """A client is refused a session. Base of the errors that become an HTTP response.

    Its own message is for the log.

    :ivar status: the HTTP status of the response.
    :ivar public: a sentence for the client that reveals nothing internal.
    """

    status: int = 403
    public: str = PUBLIC[403]


class TokenError(RefusedError, ValueError):
    """A session token is malformed, forged, too old, of another application or of somebody else."""


class LimitError(RefusedError, RuntimeError):
    """There are as many sessions as a limit allows. In a view it becomes a 503.

    The message is for visitors, and names no setting.

    :ivar setting: the key of the limit, such as ``BOKEH_MAX_SESSIONS``.
    :ivar limit: its value.
    """

    status = 503

    def __init__(self, name: str, limit: int | None, message: str) -> None:
        self.setting = f"BOKEH_{name.upper()}"
        self.limit = limit
        self.public = message
        super().__init__(message)


class MessageLimitError(FlaskBokehError, ValueError):
    """A WebSocket message would cost more than it may. It is closed with 1009.

    The text is for the log: it names limits, and nothing of the message's content.
    """


class SessionEndedError(RefusedError, RuntimeError):
    """The session has been ended, by ``close_sessions`` or a logout."""

    status = 410
    public = PUBLIC[410]


class ArgumentsError(FlaskBokehError, ValueError):
    """``arguments`` or ``data`` can't travel in a session token."""


class EmbedError(FlaskBokehError, RuntimeError):
    """A template asked for something that can't be embedded."""


class HandoffError(RefusedError, RuntimeError):
    """The client's socket can't be taken from this WSGI server.

    The message is for the log.

    :ivar status: the HTTP status that tells the client.
    :ivar public: a sentence for the client, which says nothing of the server's inside.
    """

    def __init__(self, message: str, status: int, public: str | None = None) -> None:
        self.status = status
        self.public = public or PUBLIC[status]
        super().__init__(message)


def kind_of(value: object) -> str:
    """Return what a value is, for an error: never its contents, which may be secret."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {value.__class__.__name__}"  # that of a proxy's object, too
