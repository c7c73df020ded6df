"""Hooks, and the application that runs them.

:class:`HostedApplication` is the Bokeh application that the server hosts for each registered
one. It fills the document with the registered application's own handlers, then runs the
``customize`` hooks, all inside a Flask application context. If something raises, it puts a
box in the plot's place, so the rest of the page works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh.application import Application
from bokeh.application.application import ServerContext, SessionContext
from bokeh.application.handlers import FunctionHandler
from bokeh.application.handlers.document_lifecycle import DocumentLifecycleHandler
from bokeh.core.templates import FILE
from bokeh.models.widgets import Div

from ..bokeh_api.v3.custom_models import check_compiled
from ..bokeh_api.v3.patches import make_columns_private
from ..bokeh_api.v3.serialization import check_serializable
from ..errors import (
    ApplicationFailedError,
    ApplicationLoadError,
    LimitError,
    ScriptError,
    SessionEndedError,
    TokenError,
    kind_of,
)
from ..security.document_visit import token_of
from ..security.limits import Limits
from ..security.site import Site
from ..security.visit import Visit
from .directories import check_directory, check_package, check_requests
from .loading import load
from .registry import HookRegistry, Registration, Registry

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("Hook", "HostedApplication", "build_applications")

logger = logging.getLogger("flask_bokeh")

Hook = Callable[["Document", Visit], Any]


def build_applications(
    applications: Registry, hooks: HookRegistry, limits: Limits, site: Site
) -> dict[str, HostedApplication]:
    """What the server hosts, by path."""
    modules: dict[str, Path] = {}
    return {
        item.path: HostedApplication(
            item.path,
            _load(item, site.root, modules),
            hooks.for_path(item.path),
            limits,
            context=site.context,
            report=site.report,
            debug=site.debug,
        )
        for item in applications
    }


def _load(item: Registration, root: Path, modules: dict[str, Path]) -> Application:
    """Load an application; one that can't be loaded fails by itself, whenever it is shown.

    :param modules: as for :func:`check_directory`.
    """
    try:
        if isinstance(item.source, str | Path):
            check_directory(item.path, root / Path(item.source).expanduser(), modules)
        application = load(item, root)
        check_requests(item.path, application)
    except ApplicationLoadError as error:
        logger.error("%s", error)
        reason, cause = error.reason, error.__cause__
    else:
        return application

    def fail(doc: Document) -> None:
        raise ApplicationLoadError(item.path, reason) from cause

    return Application(FunctionHandler(fail))


class HostedApplication(Application):
    """A registered application as the server hosts it.

    It shares the handlers of the registered one, so Bokeh sees their kinds and static files, and
    passes everything on to it, because it may be of a class of its own. ``initialize_document``
    never raises: on Bokeh 3.9 an exception there would leave a session pending for ever.
    """

    def __init__(
        self,
        path: str,
        application: Application,
        hooks: list[Hook],
        limits: Limits,
        *,
        context: Callable[[], AbstractContextManager[Any]],
        report: Callable[[ApplicationFailedError], str],
        debug: Callable[[], bool],
    ) -> None:
        """
        :param context: makes a Flask application context.
        :param report: logs a failure and returns the HTML of the box that tells of it.
        :param debug: whether visitors may see errors.
        """
        kinds = map(type, application.handlers)
        if not any(issubclass(kind, DocumentLifecycleHandler) for kind in kinds):
            application.add(DocumentLifecycleHandler())  # as Bokeh's server would
        super().__init__(*application.handlers, metadata=application.metadata)
        self._path = path
        self._application = application
        self._hooks = hooks
        self._limits = limits
        self._context = context
        self._report = report
        self.debug = debug
        self._expected: set[str] = set()
        self._failures: dict[str, ApplicationFailedError] = {}

    def initialize_document(self, doc: Document) -> None:
        """Fill a new document. On the IOLoop's thread or a worker thread of Bokeh's."""
        try:
            self._admit(doc)
            with self._context():
                self._fill(doc)
                self._customize(doc)
                check_compiled(doc)
            make_columns_private(doc.models)
            self._check_lives(doc)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # reported by _fail
            self._fail(doc, error)

    def check(self, doc: Document) -> None:
        """:raises SerializationFailedError: if the document can't be sent to a browser."""
        check_serializable(self._path, doc)

    def show_failure(self, doc: Document, error: BaseException) -> None:
        """Put the box of a failure in the place of a document, and report it."""
        self._fail(doc, error)

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        """Bokeh calls it when a session has ended, on the IOLoop's thread."""
        self._failures.pop(str(session_context.id), None)
        self._limits.release(str(session_context.id), session_context)
        with _without_exit("on_session_destroyed"):
            await self._application.on_session_destroyed(session_context)

    async def on_session_created(self, session_context: SessionContext) -> None:
        with _without_exit("on_session_created"):
            await self._application.on_session_created(session_context)

    def on_server_loaded(self, server_context: ServerContext) -> None:
        with _without_exit("on_server_loaded"):
            self._application.on_server_loaded(server_context)

    def on_server_unloaded(self, server_context: ServerContext) -> None:
        with _without_exit("on_server_unloaded"):
            self._application.on_server_unloaded(server_context)

    def process_request(self, request: Any) -> dict[str, Any]:
        return self._application.process_request(request)

    def _admit(self, doc: Document) -> None:
        """Refuse what a browser should not get by way of a port that skips Flask's views."""
        token = token_of(doc)
        if token.visit.path != self._path:
            raise TokenError("The session token is of another application.")
        if token.pulled and token.visit.session_id not in self._expected:
            raise SessionEndedError("This pulled session has ended. Reload the page.")
        self._limits.confirm(token, doc.session_context)

    def _check_lives(self, doc: Document) -> None:
        """Show nothing to somebody who has logged out while the document was filled."""
        if self._limits.has_ended(token_of(doc).visit.session_id):
            raise SessionEndedError("This session has been ended.")

    @contextmanager
    def expecting(self, session_id: str) -> Iterator[None]:
        """Pull a session: in the block, and only there, it may be created.

        Its failure is for the view, and is not shown or reported here. From any thread.
        """
        self._expected.add(session_id)
        try:
            yield
        finally:
            self._expected.discard(session_id)

    def failure(self, session_id: str) -> ApplicationFailedError | None:
        """What went wrong when an expected session's document was filled. Asked once."""
        return self._failures.pop(session_id, None)

    def _fill(self, doc: Document) -> None:
        for handler in self.handlers:
            check_package(handler)
        self._application.initialize_document(doc)
        for handler in self.handlers:
            if handler.failed:  # scripts, directories and notebooks keep the text only
                raise ScriptError(str(handler.error), str(handler.error_detail))

    def _customize(self, doc: Document) -> None:
        for hook in self._hooks:
            try:
                hook(doc, token_of(doc).visit)
            except (Exception, SystemExit) as error:
                name = getattr(hook, "__qualname__", kind_of(hook))
                culprit = f"The hook {name} of {self._path}"
                raise ApplicationFailedError(self._path, culprit, error) from error

    def _fail(self, doc: Document, error: BaseException) -> None:
        if isinstance(error, ApplicationFailedError):
            failure = error
        else:
            failure = ApplicationFailedError(self._path, f"The application {self._path}", error)
            failure.__cause__ = error
        # Whatever was started for a half-made document must not go on.
        for callback in list(doc.session_callbacks):
            doc.callbacks.remove_session_callback(callback)
        doc.clear()
        # An application's own template may want the roots that are not there.
        doc.template = FILE
        doc.template_variables.clear()
        session_id = None if doc.session_context is None else str(doc.session_context.id)
        if session_id in self._expected:
            # The view gets it, and Flask reports it from there. Its traceback holds the document.
            self._failures[session_id] = failure
            return
        doc.add_root(Div(text=self._box(failure, error), sizing_mode="stretch_width"))

    def _box(self, failure: ApplicationFailedError, error: BaseException) -> str:
        """HTML that tells the visitor."""
        if isinstance(error, LimitError | SessionEndedError):  # nothing has failed
            return escape(str(error))
        try:
            return self._report(failure)
        except Exception:  # a site's own template may fail, too
            logger.exception("The box that tells of an error could not be made.")
            return "This plot could not be made."


@contextmanager
def _without_exit(hook: str) -> Iterator[None]:
    """Turn ``sys.exit()``, which would end the loop and with it every plot, into an error."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"{hook} called sys.exit({error.code!r}).") from error
