"""Bokeh applications as the server hosts them.

:class:`HostedApplication` fills a document with a registered application, and then runs the
``customize`` hooks, in an application context. If something raises, it shows an error box in the
place of the plot, so the rest of the page works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.application import Application
from bokeh.application.application import ServerContext, SessionContext
from bokeh.application.handlers.document_lifecycle import DocumentLifecycleHandler
from bokeh.core.templates import FILE
from bokeh.models.widgets import Div

from ..bokeh_api import check_compiled, check_serializable, make_columns_private
from ..errors import (
    ApplicationFailedError,
    LimitError,
    ScriptError,
    SessionEndedError,
    TokenError,
    kind_of,
)
from ..security.document_visit import token_of
from ..security.integration import Integration
from ..security.limits import Limits
from ..security.visit import Visit
from .directory_checks import DirectoryModules, check_package
from .loading import load_or_fail_later
from .registrations import Registrations

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("Hook", "HostedApplication", "build_applications")

logger = logging.getLogger("flask_bokeh")

Hook = Callable[["Document", Visit], Any]


def build_applications(
    registrations: Registrations, limits: Limits, integration: Integration
) -> dict[str, HostedApplication]:
    """Return the applications for the server to host, by path."""
    modules = DirectoryModules()
    return {
        registration.path: HostedApplication(
            registration.path,
            load_or_fail_later(registration, integration.root_path, modules),
            registrations.hooks.for_path(registration.path),
            limits,
            integration,
        )
        for registration in registrations.applications
    }


class HostedApplication(Application):
    """A registered application as the server hosts it.

    It has the handlers of the registered one, so Bokeh sees their kinds and static files, and
    delegates everything to it, because its class may override methods. ``initialize_document``
    never raises: on Bokeh 3.9, an exception there would leave a session pending forever.
    """

    def __init__(
        self,
        path: str,
        application: Application,
        hooks: list[Hook],
        limits: Limits,
        integration: Integration,
    ) -> None:
        kinds = map(type, application.handlers)
        if not any(issubclass(kind, DocumentLifecycleHandler) for kind in kinds):
            application.add(DocumentLifecycleHandler())  # as Bokeh's server would
        super().__init__(*application.handlers, metadata=application.metadata)
        self._path = path
        self._application = application
        self._hooks = hooks
        self._limits = limits
        self._integration = integration
        self._pulled: set[str] = set()
        """Ids of sessions that are being pulled."""
        self._pull_failures: dict[str, ApplicationFailedError] = {}

    # --- documents ----------------------------------------------------------------------------

    def initialize_document(self, doc: Document) -> None:
        """Fill a new document. On the IOLoop's thread or a worker thread of Bokeh's."""
        try:
            self._check_token(doc)
            with self._integration.application_context():
                self._fill(doc)
                self._run_hooks(doc)
                check_compiled(doc)
            make_columns_private(doc.models)
            self._check_not_closed(doc)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # reported by show_failure
            self.show_failure(doc, error)

    def check(self, doc: Document) -> None:
        """:raises SerializationFailedError: if the document can't be sent to a browser."""
        check_serializable(self._path, doc)

    def show_failure(self, doc: Document, error: BaseException) -> None:
        """Report an error, and replace the contents of the document by the error box.

        The error of a session that is being pulled is kept for the view instead.
        """
        if isinstance(error, ApplicationFailedError):
            failure = error
        else:
            failure = ApplicationFailedError(self._path, f"The application {self._path}", error)
            failure.__cause__ = error
        _clear(doc)
        session_id = None if doc.session_context is None else str(doc.session_context.id)
        if session_id in self._pulled:
            # Flask reports it when the view raises it. Its traceback holds the document.
            self._pull_failures[session_id] = failure
            return
        doc.add_root(Div(text=self._error_box(failure, error), sizing_mode="stretch_width"))

    def debug(self) -> bool:
        """Return whether visitors may see tracebacks."""
        return self._integration.debug

    # --- pulled sessions ----------------------------------------------------------------------

    @contextmanager
    def pulling(self, session_id: str) -> Iterator[None]:
        """Allow, in the block, to create the session of a token for a pulled session.

        Its failure is not reported, but kept for :meth:`pop_pull_failure`. Thread-safe.
        """
        self._pulled.add(session_id)
        try:
            yield
        finally:
            self._pulled.discard(session_id)

    def pop_pull_failure(self, session_id: str) -> ApplicationFailedError | None:
        """Return the failure of a session created in :meth:`pulling`, and forget it."""
        return self._pull_failures.pop(session_id, None)

    # --- life-cycle hooks -----------------------------------------------------------------------

    async def on_session_created(self, session_context: SessionContext) -> None:
        """Call the application's hooks; Bokeh calls this on the IOLoop's thread."""
        with _exit_as_error("on_session_created"):
            await self._application.on_session_created(session_context)

    async def on_session_destroyed(self, session_context: SessionContext) -> None:
        """Release the reservation and call the application's hooks. On the IOLoop's thread."""
        self._pull_failures.pop(str(session_context.id), None)
        self._limits.release(str(session_context.id), session_context)
        with _exit_as_error("on_session_destroyed"):
            await self._application.on_session_destroyed(session_context)

    def on_server_loaded(self, server_context: ServerContext) -> None:
        """Call the application's hooks."""
        with _exit_as_error("on_server_loaded"):
            self._application.on_server_loaded(server_context)

    def on_server_unloaded(self, server_context: ServerContext) -> None:
        """Call the application's hooks."""
        with _exit_as_error("on_server_unloaded"):
            self._application.on_server_unloaded(server_context)

    def process_request(self, request: Any) -> dict[str, Any]:
        """Delegate to the application."""
        return self._application.process_request(request)

    # --- filling a document -------------------------------------------------------------------

    def _check_token(self, doc: Document) -> None:
        """Check the token again, because clients of the server's own port bypass Flask's views.

        :raises TokenError: if it is of another application.
        :raises LimitError: if there are too many sessions.
        :raises SessionEndedError: if the session was closed, or its pulled session has ended.
        """
        token = token_of(doc)
        if token.visit.path != self._path:
            raise TokenError("The session token is of another application.")
        if token.pulled and token.visit.session_id not in self._pulled:
            raise SessionEndedError("This pulled session has ended. Reload the page.")
        self._limits.confirm(token, doc.session_context)

    def _fill(self, doc: Document) -> None:
        for handler in self.handlers:
            check_package(handler)
        self._application.initialize_document(doc)
        for handler in self.handlers:
            if handler.failed:  # Bokeh keeps only the text for scripts, directories and notebooks
                raise ScriptError(str(handler.error), str(handler.error_detail))

    def _run_hooks(self, doc: Document) -> None:
        for hook in self._hooks:
            try:
                hook(doc, token_of(doc).visit)
            except (Exception, SystemExit) as error:
                name = getattr(hook, "__qualname__", kind_of(hook))
                culprit = f"The hook {name} of {self._path}"
                raise ApplicationFailedError(self._path, culprit, error) from error

    def _check_not_closed(self, doc: Document) -> None:
        """:raises SessionEndedError: if the user logged out while the document was filled."""
        if self._limits.is_closed(token_of(doc).visit.session_id):
            raise SessionEndedError("This session has been ended.")

    def _error_box(self, failure: ApplicationFailedError, error: BaseException) -> str:
        """Report a failure and return HTML for the visitor."""
        if isinstance(error, LimitError | SessionEndedError):  # the application has not failed
            return escape(str(error))
        try:
            return self._integration.report_failure(failure)
        except Exception:  # the site's own template of the box may fail, too
            logger.exception("The error box could not be rendered.")
            return "This plot could not be made."


def _clear(doc: Document) -> None:
    """Remove the contents, callbacks and template of a document that was filled in part."""
    for callback in list(doc.session_callbacks):
        doc.callbacks.remove_session_callback(callback)
    doc.clear()
    doc.template = FILE  # the application's template may refer to roots by name
    doc.template_variables.clear()


@contextmanager
def _exit_as_error(hook: str) -> Iterator[None]:
    """Turn ``sys.exit()``, which would end the loop of all applications, into an error."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"{hook} called sys.exit({error.code!r}).") from error
