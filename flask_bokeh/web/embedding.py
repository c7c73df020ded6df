"""Embedding of applications and pulled sessions: the functions behind the Jinja tag and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask.sessions import SessionMixin
from jinja2 import Undefined
from markupsafe import Markup

from ..errors import EmbedError, kind_of
from ..security.arguments import all_values
from ..server.pulled_session import PulledSession
from .current_state import current_state
from .markup import render_session
from .request_state import request_state
from .urls import server_url

if TYPE_CHECKING:
    from bokeh.model import Model

__all__ = ("bokeh_tag", "embed_application", "embed_pulled_session")


def embed_application(
    path: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Markup:
    """Return the markup that shows a new session: see :meth:`FlaskBokeh.server_document`."""
    state = current_state()
    token = state.authorizer.issue(path, arguments=arguments, data=data)
    return render_session(state.settings, token, server_url=server_url(state))


def embed_pulled_session(session: PulledSession, *, model: Model | None = None) -> Markup:
    """Return the markup that shows a pulled session: see :meth:`FlaskBokeh.server_session`."""
    if not isinstance(session, PulledSession):
        raise EmbedError(f"server_session got {_describe(session)}")
    state = current_state()
    return render_session(
        state.settings,
        session.token,
        server_url=server_url(state),
        pulled=session,
        model=model,
    )


def bokeh_tag(what: object = None, **keywords: Any) -> Markup:
    """Return the markup of ``{% bokeh what, name=value %}``.

    :param what: an application's path, a pulled session, or None for the only session that was
        pulled in this request.
    :param keywords: arguments and data of an application, or the ``model`` of a pulled session.
    :raises EmbedError: if there is nothing to show, or the keywords do not fit.
    """
    if isinstance(what, str):
        arguments, data = keywords.pop("arguments", None), keywords.pop("data", None)
        named = {} if arguments is None else all_values(what, arguments)
        return embed_application(what, arguments=named | keywords, data=data)
    session = _only_pulled_session() if what is None else what
    if not isinstance(session, PulledSession):
        raise EmbedError(f"{{% bokeh %}} got {_describe(session)}")
    if unknown := keywords.keys() - {"model"}:
        raise EmbedError(
            f"{{% bokeh %}} takes model=... with a pulled session, not "
            f"{', '.join(unknown)}. Give arguments where it is pulled."
        )
    return embed_pulled_session(session, **keywords)


def _only_pulled_session() -> PulledSession:
    pulled = request_state().pulled_sessions
    if len(pulled) != 1:
        raise EmbedError(
            f"{{% bokeh %}} shows the session that was pulled in this request, but "
            f"{len(pulled) or 'none'} were. Name one: {{% bokeh bokeh_session %}} "
            f'or {{% bokeh "/path" %}}.'
        )
    return pulled[0]


def _describe(what: object) -> str:
    """Describe for an error what was given in place of a session, without its content."""
    if isinstance(what, SessionMixin):
        return (
            "Flask's cookie session, which is what `session` is in a template. A pulled session "
            "needs another name: pass it to the template as `bokeh_session`, and write "
            "{% bokeh bokeh_session %}, or {% bokeh %} for the one that was pulled in this request."
        )
    if isinstance(what, Undefined):
        return "a variable that is not defined. Pass the pulled session to the template."
    return f"{kind_of(what)}; expected an application's path or a pulled session."
