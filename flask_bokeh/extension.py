"""``FlaskBokeh``: the public face. It holds registrations, and wires the parts together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, current_app
from markupsafe import Markup

from .applications.registrations import Registrations
from .applications.registry import Source, check_path
from .errors import EmbedError, NotInitializedError, RegistrationError
from .security.arguments import all_values
from .server.pull import PulledSession
from .state import BokehState
from .web.markup import no_session, pulled_in_request, render_resources, render_session, server_url
from .web.setup import wire

if TYPE_CHECKING:
    from bokeh.model import Model
    from tornado.ioloop import IOLoop

__all__ = ("FlaskBokeh",)

F = TypeVar("F", bound=Callable[..., Any])


class FlaskBokeh:
    """Live Bokeh applications in a Flask site.

    One instance serves any number of Flask applications. It holds the registrations, of which each
    application takes a copy at its first page; what belongs to one Flask application is in
    ``app.extensions["bokeh"]``.

    :param app: a Flask application to initialize right away.
    :param options: settings, as the fields of :class:`~flask_bokeh.settings.Settings`; they win
        over the ``BOKEH_*`` keys of ``app.config``.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = options
        self._registered = Registrations()
        if app is not None:
            self.init_app(app)

    # --- wiring ---------------------------------------------------------------------------

    def init_app(self, app: Flask) -> None:
        """Add flask_bokeh to a Flask application. Settings are read here, and only here.

        :raises ConfigError: naming every setting that is wrong.
        :raises RuntimeError: if the application has flask_bokeh already.
        """
        if "bokeh" in app.extensions:
            raise RuntimeError(
                f"The Flask application {app.import_name!r} has flask_bokeh already. "
                "Call init_app once, on one FlaskBokeh instance."
            )
        state = wire(app, self._options, self._registered)
        app.extensions["bokeh"] = state
        self._registered.reopen()
        app.jinja_env.globals.update(
            server_document=self.server_document,
            server_session=self.server_session,
            bokeh_resources=self.resources,
            _bokeh_tag=self._tag,
        )

    # --- registrations --------------------------------------------------------------------

    def application(self, path: str, *, page: bool = False) -> Callable[[F], F]:
        """Register a function that fills a document, as the application at ``path``.

        :param page: also serve it as a page of its own, ``/bokeh`` + ``path``, and to
            ``autoload.js``. Without it the application is seen only where a view embeds it.
        :raises RegistrationError: for a bad path or a path that is taken.
        """
        check_path(path)

        def register(function: F) -> F:
            self.add_application(path, function, page=page)
            return function

        return register

    def add_application(self, path: str, source: Source, *, page: bool = False) -> None:
        """Register an application: a function, a script, a directory, a notebook or a Bokeh
        ``Application``. The same one again, from a factory, changes nothing.

        :param source: file names are relative to ``app.root_path``.
        :param page: as in :meth:`application`.
        :raises RegistrationError: for a bad path, a path that is taken, a source of a wrong
            kind, or after the first page of the newest Flask application.
        """
        self._registered.applications.add(path, source, page=page)

    def customize(self, path: str | None = None) -> Callable[[F], F]:
        """Register a hook ``f(doc, visit)`` that runs when a session is created.

        It runs after the application, once a session, in an application context, in the
        process and on the thread that creates the session: there is no request.

        :param path: the application; None for every application.
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
        """Register the function that says who is asking: ``f() -> str or None``, in a request.

        A session is for the user whose page it is on: they are asked for again when the browser
        opens its WebSocket. By default it is Flask-Login's user.
        """
        return self._registered.user_loaders.decorator(None)(function)

    def guard(self, path: str | None = None) -> Callable[[F], F]:
        """Register a check ``f()`` or ``f(visit)`` of who may see an application.

        It runs when a page shows the application, and again when the browser opens its
        WebSocket. It returns True, False for a 403, or a response such as a redirect; or it
        aborts. Flask-Login's ``login_required`` works under it.

        :param path: the application; None for every application.
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
        """Create a session and edit it: ``with bokeh.pull_session("/sliders") as session``.

        When the block ends, the edits are on the server. ``{% bokeh %}`` shows it.
        In a request; not on the server's own loop.

        :param arguments: strings for the application, as :attr:`Visit.arguments`: one or a list
            for each name, or a ``MultiDict`` such as ``request.args``. None is left out.
        :param data: JSON values for the application, as :attr:`Visit.data`.
        :param user: who visits, as the application sees it; by default, who is asking. Only who
            is asking can open the session.
        :param transport: ``direct`` or ``client``; by default ``BOKEH_PULL_TRANSPORT``.
        :raises ApplicationFailedError: if the application or a hook raised.
        :raises LimitError: if there are too many sessions; unless caught, it is a 503.
        :raises WaitTimeoutError: if it takes longer than ``BOKEH_PULL_TIMEOUT`` seconds.
        """
        state = _state()
        with state.pull(
            path,
            arguments=arguments,
            data=data,
            user=user,
            transport=transport,
        ) as session:
            pulled_in_request().append(session)
            yield session

    def with_session(
        self, path: str, *, name: str = "bokeh_session", **options: Any
    ) -> Callable[[F], F]:
        """Decorate a view: it gets a session of its own in each request, as a keyword.

        For plain and async functions, and for methods and ``decorators`` of class-based views.

        :param name: the keyword. It is not ``session``, which is Flask's cookie session.
        :param options: as for :meth:`pull_session`.
        :raises RegistrationError: for a bad path.
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
        """End the live sessions of a user in all workers of this machine, and say how many.

        Those that the user's pages opened, and those that were pulled for the user. Tokens of
        before open nothing any more: the plots go, and the pages reload themselves where that
        repeats no POST and loses nothing typed. In an application context; not on the server's
        own loop. Flask-Login's ``logout_user`` does this by itself.

        :raises WaitTimeoutError: if an application blocks the loop; they end when it is free.
        :raises SessionsNotEndedError: if some may live on, for instance in a worker that is frozen.
        """
        return _state().close_sessions(user)

    # --- markup ---------------------------------------------------------------------------

    def server_document(
        self,
        path: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Markup:
        """The markup that shows a new session of an application. In a request.

        Nothing is created until the browser connects.

        :raises UnknownApplicationError: listing the known paths.
        :raises ArgumentsError: if arguments or data can't travel in a token.
        """
        state = _state()
        token = state.new_token(path, arguments=arguments, data=data)
        return render_session(state.settings, token, server_url=server_url(state))

    def server_session(self, session: PulledSession, *, model: Model | None = None) -> Markup:
        """The markup that shows a pulled session. In the request that pulled it.

        :param model: show only this root of its document.
        :raises EmbedError: if the page shows it already, or the model is no root of it.
        """
        if not isinstance(session, PulledSession):
            raise EmbedError(f"server_session got {no_session(session)}")
        state = _state()
        return render_session(
            state.settings,
            session.token,
            server_url=server_url(state),
            pulled=session,
            model=model,
        )

    def resources(self) -> Markup:
        """The tags that load BokehJS; the second time in a request, nothing."""
        return render_resources(_state().settings)

    # --- life cycle -----------------------------------------------------------------------

    def start(self, io_loop: IOLoop | None = None) -> None:
        """Start the server now, instead of on first use. In an application context.

        :param io_loop: put it on this loop, which the caller runs (in a Tornado program or a
            notebook), instead of on a thread.
        :raises ServerStartError: with the cause.
        """
        _state().start(io_loop)

    def stop(self) -> None:
        """Stop the server of this process, in an application context. Idempotent.

        Sockets are closed, and the hooks ``on_session_destroyed`` and ``on_server_unloaded``
        run, within ``BOKEH_STOP_TIMEOUT`` seconds. It happens by itself when Python exits.

        :raises LoopThreadError: on the server's own loop; use :meth:`stop_async` there.
        """
        _state().stop()

    async def stop_async(self) -> None:
        """Like :meth:`stop`, on the server's own loop."""
        await _state().stop_async()

    def _tag(self, what: object = None, **keywords: Any) -> Markup:
        """``{% bokeh %}``."""
        if isinstance(what, str):
            arguments, data = keywords.pop("arguments", None), keywords.pop("data", None)
            named = {} if arguments is None else all_values(what, arguments)
            return self.server_document(what, arguments=named | keywords, data=data)
        if what is None:
            pulled = pulled_in_request()
            if len(pulled) != 1:
                raise EmbedError(
                    f"{{% bokeh %}} shows the session that was pulled in this request, but "
                    f"{len(pulled) or 'none'} were. Name one: {{% bokeh bokeh_session %}} "
                    f'or {{% bokeh "/path" %}}.'
                )
            what = pulled[0]
        if not isinstance(what, PulledSession):
            raise EmbedError(f"{{% bokeh %}} got {no_session(what)}")
        if unknown := keywords.keys() - {"model"}:
            raise EmbedError(
                f"{{% bokeh %}} takes model=... with a pulled session, not "
                f"{', '.join(unknown)}. Give arguments where it is pulled."
            )
        return self.server_session(what, **keywords)


def _state() -> BokehState:
    state = current_app.extensions.get("bokeh")
    if not isinstance(state, BokehState):
        raise NotInitializedError()
    return state
