"""The extension class ``FlaskBokeh``: registrations, sessions, markup, start and stop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, has_request_context
from markupsafe import Markup

from .applications.registrations import ExtensionRegistrations
from .applications.registry import Source, check_path
from .cli import commands
from .errors import RegistrationError
from .server.pulled_session import PulledSession
from .web.current_state import current_state
from .web.embedding import embed_application, embed_pulled_session
from .web.markup import render_resources
from .web.request_state import request_state
from .web.setup import set_up

if TYPE_CHECKING:
    from bokeh.model import Model
    from tornado.ioloop import IOLoop

__all__ = ("FlaskBokeh",)

F = TypeVar("F", bound=Callable[..., Any])


class FlaskBokeh:
    """Live Bokeh applications in a Flask site.

    Create one instance, and call :meth:`init_app` with each Flask application. The instance holds
    the registrations, of which a Flask application takes a copy at its first page. Everything
    else that belongs to one Flask application is in ``app.extensions["bokeh"]``.

    :param app: a Flask application to initialize at once.
    :param options: settings, named as the keys of ``app.config`` in lower case and without
        ``BOKEH_``. They have priority over these keys.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = options
        self._registered = ExtensionRegistrations(has_request_context)
        if app is not None:
            self.init_app(app)

    # --- wiring ---------------------------------------------------------------------------

    def init_app(self, app: Flask) -> None:
        """Add flask_bokeh to a Flask application, and read its settings.

        Settings that change later have no effect.

        :param app: the Flask application.
        :raises ConfigError: if settings are wrong; the message lists all of them.
        :raises RuntimeError: if the application has flask_bokeh already.
        """
        if "bokeh" in app.extensions:
            raise RuntimeError(
                f"The Flask application {app.import_name!r} has flask_bokeh already. "
                "Call init_app once, on one FlaskBokeh instance."
            )
        state = set_up(app, self._options, self._registered)
        app.extensions["bokeh"] = state
        app.cli.add_command(commands)
        app.jinja_env.globals.update(
            server_document=self.server_document,
            server_session=self.server_session,
            bokeh_resources=self.resources,
        )

    # --- registrations --------------------------------------------------------------------

    def application(self, path: str, *, page: bool = False) -> Callable[[F], F]:
        """Decorate a function ``f(doc)`` that fills a document, to register it as an application.

        It runs once for each session, in a Flask application context, but not in a request. The
        thread depends on Bokeh: 3.9 calls it on the server's event loop, 3.10 on a worker thread.

        :param path: the path of the application, with a slash at the beginning.
        :param page: also serve the application as a page of its own, at ``/bokeh`` + ``path``, and
            through ``autoload.js``. By default, it is seen only where a view embeds it.
        :raises RegistrationError: if the path is not valid, or taken.
        """
        check_path(path)

        def register(function: F) -> F:
            self.add_application(path, function, page=page)
            return function

        return register

    def add_application(self, path: str, source: Source, *, page: bool = False) -> None:
        """Register an application. To register the same one again changes nothing.

        :param path: the path of the application, with a slash at the beginning.
        :param source: a function ``f(doc)``, a Bokeh ``Application``, or the name of a script, a
            directory or a notebook, relative to ``app.root_path``.
        :param page: as in :meth:`application`.
        :raises RegistrationError: if the path is not valid, or taken; if the source is of another
            type; or after the first page of all Flask applications of this instance.
        """
        self._registered.applications.add(path, source, page=page)

    def customize(self, path: str | None = None) -> Callable[[F], F]:
        """Decorate a hook ``f(doc, visit)`` that edits the document of each new session.

        It runs once for each session, after the application, on the same thread: in a Flask
        application context, but not in a request.

        :param path: the path of the application; None for every application.
        :raises RegistrationError: if the hook is an async function, or the path is not valid.
        """

        register = self._registered.hooks.decorator(path)

        def decorate(hook: F) -> F:
            if inspect.iscoroutinefunction(hook):
                raise RegistrationError(
                    f"The hook {hook.__qualname__} is an async function, which nobody awaits when "
                    "Bokeh creates a session. Make it a plain function."
                )
            return register(hook)

        return decorate

    def user_loader(self, function: F) -> F:
        """Register the function ``f()`` that returns the user of the current request.

        It returns a string, or None for a visitor without a user. It is called for the page, and
        again when the browser opens the WebSocket of a plot, because a session opens only for the
        user whose page it is on. By default, it is Flask-Login's user.

        :param function: the function. It runs on the thread of the request.
        """
        return self._registered.user_loaders.decorator(None)(function)

    def guard(self, path: str | None = None) -> Callable[[F], F]:
        """Decorate a check ``f()`` or ``f(visit)`` of who may see an application.

        It runs in the request: when a page shows the application, and again when the browser opens
        its WebSocket. It returns True, False for a 403, or a response such as a redirect; or it
        calls ``abort()``. Flask-Login's ``login_required`` works below it.

        :param path: the path of the application; None for every application.
        """
        return self._registered.guards.decorator(path)

    # --- sessions -------------------------------------------------------------------------

    @contextmanager
    def pull_session(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        user: str | EllipsisType | None = ...,
        transport: str | None = None,
    ) -> Iterator[PulledSession]:
        """Create a session, and edit its document: ``with bokeh.pull_session("/x") as session:``.

        When the block ends, the edits are on the server, and ``{% bokeh %}`` shows the session.
        Call it in a request, on any thread but that of the server's event loop. It blocks until
        the session has been created.

        :param path: the path of the application.
        :param arguments: the :attr:`Visit.arguments` of the session: a string or a list of strings
            for each name, or a ``MultiDict`` such as ``request.args``. None is left out.
        :param data: the :attr:`Visit.data` of the session: JSON values by name.
        :param user: the :attr:`Visit.user` of the session; by default, the user of the request.
            Only the user of the request can open the session.
        :param transport: ``direct`` or ``client``; by default ``BOKEH_PULL_TRANSPORT``.
        :raises UnknownApplicationError: if no application has the path.
        :raises ArgumentsError: if arguments or data are no strings and JSON values, or too large.
        :raises ApplicationFailedError: if the application or a hook raised an exception.
        :raises LimitError: if there are too many sessions. Unless the view catches it, the
            response is a 503.
        :raises LoopThreadError: on the thread of the server's event loop.
        :raises WaitTimeoutError: if a wait takes longer than ``BOKEH_PULL_TIMEOUT`` seconds.
        """
        with current_state().puller.pull(
            path,
            arguments=arguments,
            data=data,
            user=user,
            transport=transport,
        ) as session:
            request_state().pulled_sessions.append(session)
            yield session

    def with_session(
        self, path: str, *, name: str = "bokeh_session", **options: Any
    ) -> Callable[[F], F]:
        """Decorate a view that gets a new session in each request, as :meth:`pull_session` does.

        It works for plain and async functions, and for methods and ``decorators`` of class-based
        views.

        :param path: the path of the application.
        :param name: the keyword argument for the session. It is not ``session`` because that is
            Flask's cookie session.
        :param options: keyword arguments of :meth:`pull_session`.
        :raises RegistrationError: if the path is not valid.
        """
        check_path(path)

        def decorate(view: F) -> F:
            if inspect.iscoroutinefunction(view):

                @wraps(view)
                async def async_view(*args: Any, **kwargs: Any) -> Any:
                    with self.pull_session(path, **options) as session:
                        return await view(*args, **kwargs, **{name: session})

                return async_view  # type: ignore[return-value]

            @wraps(view)
            def plain_view(*args: Any, **kwargs: Any) -> Any:
                with self.pull_session(path, **options) as session:
                    return view(*args, **kwargs, **{name: session})

            return plain_view  # type: ignore[return-value]

        return decorate

    def close_sessions(self, *, user: str) -> int:
        """Close the sessions of a user in all workers of this machine, and return their number.

        The tokens that the user got before are revoked. The plots end, and their pages reload
        themselves, unless that would repeat a POST or lose what the user has typed. Flask-Login's
        ``logout_user`` does this by itself.

        Call it in an application context, on any thread but that of the server's event loop. It
        blocks until the sessions have been closed.

        :param user: the user, as the ``user_loader`` returns it.
        :raises LoopThreadError: on the thread of the server's event loop.
        :raises WaitTimeoutError: if an application blocks the event loop. The sessions are closed
            when it is free again.
        :raises SessionsNotEndedError: if some sessions may not have been closed, for example in a
            worker that is frozen.
        """
        return current_state().closer.close(user)

    # --- markup ---------------------------------------------------------------------------

    def server_document(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Markup:
        """Return the markup that shows a new session of an application.

        Call it in a request. Nothing is created until the browser connects.

        :param path: the path of the application.
        :param arguments: as in :meth:`pull_session`.
        :param data: as in :meth:`pull_session`.
        :raises UnknownApplicationError: if no application has the path.
        :raises ArgumentsError: if arguments or data are no strings and JSON values, or too large.
        """
        return embed_application(path, arguments=arguments, data=data)

    def server_session(self, session: PulledSession, *, model: Model | None = None) -> Markup:
        """Return the markup that shows a pulled session.

        Call it in the request that pulled the session.

        :param session: the session.
        :param model: show only this root of its document.
        :raises EmbedError: if the page shows the session already, or the model is none of its
            roots.
        """
        return embed_pulled_session(session, model=model)

    def resources(self) -> Markup:
        """Return the tags that load BokehJS. The second time in a request, they are empty."""
        return render_resources(current_state().settings)

    # --- life cycle -----------------------------------------------------------------------

    def start(self, io_loop: IOLoop | None = None) -> None:
        """Start the Bokeh server of this process now, instead of at its first use.

        Call it in an application context.

        :param io_loop: run the server on this event loop, which the caller runs, in a Tornado
            program or a notebook for example. By default, it gets a thread of its own.
        :raises ServerStartError: if the server can't start, or runs on another loop already. The
            cause is ``__cause__``.
        """
        current_state().servers.start(io_loop)

    def stop(self) -> None:
        """Stop the Bokeh server of this process, if it runs.

        Call it in an application context. It closes the WebSockets, and runs the hooks
        ``on_session_destroyed`` and ``on_server_unloaded``, within ``BOKEH_STOP_TIMEOUT`` seconds.
        It happens by itself when Python exits.

        :raises LoopThreadError: on the thread of the server's event loop. Use :meth:`stop_async`
            there.
        """
        current_state().stop()

    async def stop_async(self) -> None:
        """Stop the server as :meth:`stop` does, on the server's own event loop."""
        await current_state().stop_async()
