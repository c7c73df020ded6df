"""The exceptions of flask_bokeh.

All inherit from :class:`FlaskBokehError`. Each also inherits the builtin exception that a caller
would expect (a bad setting is a ``ValueError``, a timeout is a ``TimeoutError``) and has what a
handler needs as attributes. Those that refuse a request inherit from :class:`RefusedError`, which
has the HTTP status of the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PUBLIC = {
    400: "This request can't open a WebSocket.",
    403: "This plot can't be opened here.",
    410: "This plot has ended.",
    431: "The headers of the request are too large.",
    501: "Plots can't be shown here.",
    503: "This site is busy. Please try again in a moment.",
}
"""The sentence that a client gets with each HTTP status."""


class FlaskBokehError(Exception):
    """Base class of all exceptions raised by flask_bokeh."""


# --- setting up a site ------------------------------------------------------------------------


class ConfigError(FlaskBokehError, ValueError):
    """One or more settings are wrong.

    :ivar problems: one sentence for each, with the key, its value and the accepted values.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class NotInitializedError(FlaskBokehError, RuntimeError):
    """The current Flask application was not initialized with flask_bokeh."""

    def __init__(self) -> None:
        super().__init__(
            "This Flask application has no flask_bokeh. Did you forget bokeh.init_app(app), "
            "or make two FlaskBokeh() instances and initialize the other one?"
        )


class RegistrationError(FlaskBokehError, ValueError):
    """An application, a hook, a guard or a user loader can't be registered like this."""


class UnknownApplicationError(FlaskBokehError, LookupError):
    """No application is registered under a path.

    :ivar path: the requested path.
    :ivar known: the registered paths.
    """

    def __init__(self, path: str, known: Iterable[str]) -> None:
        self.path = path
        self.known = tuple(sorted(known))
        paths = ", ".join(self.known) or "none"
        super().__init__(f"No Bokeh application is registered at {path!r}. Registered: {paths}.")


# --- applications that fail -------------------------------------------------------------------


class ApplicationLoadError(FlaskBokehError, RuntimeError):
    """The script, directory or notebook of an application could not be loaded.

    :ivar path: the path of the application.
    :ivar reason: the problem with its file.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"The Bokeh application at {path!r} can't be loaded: {reason}")


class ApplicationFailedError(FlaskBokehError, RuntimeError):
    """An application or one of its hooks raised an exception while it filled a document.

    The original exception is ``__cause__``.

    :ivar path: the path of the application.
    :ivar culprit: a description of what raised, such as ``"The application /sliders"`` or
        ``"The hook greet of /sliders"``.
    """

    def __init__(self, path: str, culprit: str, error: BaseException) -> None:
        self.path = path
        self.culprit = culprit
        super().__init__(f"{culprit} raised {type(error).__name__}: {error}")


class SerializationFailedError(ApplicationFailedError):
    """A document holds a value that can't be sent to a browser.

    The message names the model, its property and the type of the value, but not the value. The
    original exception is ``__cause__``.
    """

    def __init__(self, path: str, culprit: str, error: BaseException) -> None:
        super().__init__(path, culprit, error)
        self.args = (
            f"The document of {path} can't be sent to a browser, because of {culprit}: {error}. "
            "Convert the value to a JSON type, such as float, str, list or dict.",
        )


class ScriptError(FlaskBokehError, RuntimeError):
    """A script, directory or notebook application raised an exception.

    Bokeh keeps only the text of such an exception.

    :ivar detail: the traceback, as text.
    """

    def __init__(self, message: str, detail: str) -> None:
        self.detail = detail
        super().__init__(message)


class ArgumentsError(FlaskBokehError, ValueError):
    """The ``arguments`` or ``data`` of a session can't be stored in its token."""


class EmbedError(FlaskBokehError, RuntimeError):
    """A template tried to embed something that can't be embedded."""


# --- the Bokeh server -------------------------------------------------------------------------


class ServerStartError(FlaskBokehError, RuntimeError):
    """The Bokeh server of this process could not be started. The reason is ``__cause__``."""


class ServerStoppedError(FlaskBokehError, RuntimeError):
    """The Bokeh server of this process is not running."""


class WaitTimeoutError(FlaskBokehError, TimeoutError):
    """An operation took longer than its timeout.

    :ivar what: a description of the operation.
    :ivar seconds: the timeout.
    """

    def __init__(self, what: str, seconds: float, hint: str = "") -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(f"Waited {seconds:g} s for {what}.{' ' + hint if hint else ''}")


class LoopThreadError(FlaskBokehError, RuntimeError):
    """A blocking function was called on the thread of the IOLoop, which would deadlock."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} blocks, and was called on the thread of the Bokeh server's IOLoop, "
            "which would wait for itself. Call it from a Flask view or from another thread."
        )


class SessionsNotEndedError(FlaskBokehError, RuntimeError):
    """Some sessions may still be open, although their tokens have been revoked.

    :ivar reasons: one sentence for each worker that could not close its sessions.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"Some sessions of a user may not have ended: {'; '.join(reasons)}.")


# --- requests that are refused ----------------------------------------------------------------


class RefusedError(FlaskBokehError):
    """A request for a session is refused. The message is for the log.

    :ivar status: the HTTP status of the response.
    :ivar public: a sentence for the client, without details of the site.
    """

    status: int = 403
    public: str = PUBLIC[403]


class TokenError(RefusedError, ValueError):
    """A session token is malformed, forged, too old, or of another application or principal."""


class SessionEndedError(RefusedError, RuntimeError):
    """The session was closed by ``close_sessions`` or a logout."""

    status = 410
    public = PUBLIC[410]


class LimitError(RefusedError, RuntimeError):
    """A limit of sessions has been reached. In a view, it becomes a 503 response.

    The message is for visitors and does not name the setting.

    :ivar setting: the key of the limit, such as ``BOKEH_MAX_SESSIONS``.
    :ivar limit: its value.
    """

    status = 503

    def __init__(self, name: str, limit: int | None, message: str) -> None:
        self.setting = f"BOKEH_{name.upper()}"
        self.limit = limit
        self.public = message
        super().__init__(message)


class HandoffError(RefusedError, RuntimeError):
    """The client's socket can't be handed from the WSGI server to the Bokeh server."""

    def __init__(self, message: str, status: int, public: str | None = None) -> None:
        self.status = status
        self.public = public or PUBLIC[status]
        super().__init__(message)


class MessageLimitError(FlaskBokehError, ValueError):
    """A WebSocket message exceeds a limit. The WebSocket is closed with code 1009.

    The message is for the log. It names the limit and holds no content of the WebSocket message.
    """


def kind_of(value: object) -> str:
    """Return a description of a value for an error message.

    It shows plain numbers, but not the content of other values, which may be secret.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {value.__class__.__name__}"  # of the proxied object, for a proxy
