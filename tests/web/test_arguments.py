"""Arguments of a session, with several values for a name or none."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
from bokeh.document import Document
from flask import Flask, render_template_string, request
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict

from flask_bokeh import ArgumentsError, FlaskBokeh, Visit, visit
from flask_bokeh.security.arguments import Arguments

from ..support.html import tokens_in

QUERY = "?region=Z%C3%BCrich&region=Oslo&mark=%F0%9F%93%88"
BOTH = {"region": ["Zürich", "Oslo"], "mark": ["📈"]}
MULTI_DICT: MultiDict[str, str] = MultiDict(BOTH)
FIRST = {"region": "Zürich", "mark": "📈"}
seen: list[tuple[Any, Any]] = []


@pytest.fixture
def site(app: Flask, bokeh: FlaskBokeh) -> FlaskClient:
    seen.clear()

    @bokeh.application("/x", page=True)
    def fill(doc: Document) -> None:
        assert doc.session_context is not None
        theirs = doc.session_context.request.arguments  # type: ignore[attr-defined]
        seen.append((visit(doc).arguments, theirs))

    bokeh.init_app(app)

    @app.get("/tag")
    def tag() -> str:
        return render_template_string(
            "{% bokeh '/x', arguments=request.args, year=2024, none=request.args.get('none') %}"
        )

    @app.get("/lists")
    def lists() -> str:
        return render_template_string(
            "{% bokeh '/x', arguments=lists, years=[2024, 2025] %}",
            lists=request.args.to_dict(flat=False),
        )

    return app.test_client()


def arguments_of(app: Flask, text: str) -> Arguments:
    """Return the arguments in the token of a page."""
    (token,) = tokens_in(text)
    state = app.extensions["bokeh"]
    found: Arguments = state.authorizer.tokens.read(token).visit.arguments
    return found


@pytest.mark.parametrize("way", ["direct", "client"])
@pytest.mark.parametrize("given", [MULTI_DICT, BOTH], ids=["MultiDict", "lists"])
def test_all_values_of_an_argument_reach_the_application(
    app: Flask, bokeh: FlaskBokeh, site: FlaskClient, given: Any, way: str
) -> None:
    """visit() and Bokeh's session_context have every value."""
    with (
        app.test_request_context(),
        bokeh.pull_session("/x", arguments=given, transport=way) as session,
    ):
        assert session.id
    ((ours, theirs),) = seen
    assert ours == FIRST
    assert {name: ours.getlist(name) for name in ours} == BOTH
    assert theirs == {name: [one.encode() for one in some] for name, some in BOTH.items()}


def test_query_of_a_page_becomes_its_arguments(site: FlaskClient) -> None:
    """Every value of a name is kept."""
    assert site.get("/bokeh/x" + QUERY).status_code == 200
    ((ours, theirs),) = seen
    assert ours.lists() == BOTH
    assert [one.decode() for one in theirs["region"]] == BOTH["region"]


def test_tokens_of_tags_and_autoload_hold_all_values(app: Flask, site: FlaskClient) -> None:
    """The value None is left out; a list is several values."""
    assert arguments_of(app, site.get("/tag" + QUERY).text).lists() == {**BOTH, "year": ["2024"]}
    lists = arguments_of(app, site.get("/lists" + QUERY).text).lists()
    assert lists == {**BOTH, "years": ["2024", "2025"]}
    script = site.get(f"/bokeh/x/autoload.js{QUERY}&bokeh-autoload-element=a").text
    (token,) = re.findall(r"\"token\":\s*\"([\w.-]+)\"", script.replace("\\", ""))
    visited = app.extensions["bokeh"].authorizer.tokens.read(token).visit
    assert visited.arguments.lists() == BOTH


def test_tag_accepts_none_and_refuses_a_list_as_arguments(app: Flask, site: FlaskClient) -> None:
    """None means no arguments; a value that is not a mapping raises ArgumentsError."""
    with app.test_request_context():
        text = render_template_string("{% bokeh '/x', arguments=None %}")
        assert arguments_of(app, text) == {}
        with pytest.raises(ArgumentsError, match="is a list; expected a dict"):
            render_template_string("{% bokeh '/x', arguments=[1] %}")


def test_arguments_are_a_dict_of_first_values() -> None:
    """getlist() and lists() return all values; copies and pickles keep them."""
    some = Arguments({"a": ["1", "2"], "b": "3", "none": []})
    assert some == {"a": "1", "b": "3"}
    assert some != Arguments({"a": "1", "b": "3"})
    assert some.getlist("a") == ["1", "2"]
    assert some.getlist("nowhere") == []
    for other in (copy.copy(some), copy.deepcopy(some), pickle.loads(pickle.dumps(some))):
        assert other == some
        assert other.lists() == {"a": ["1", "2"], "b": ["3"]}
    plain = Visit(user=None, arguments={"a": "1"}, path="/x", session_id="")  # type: ignore[arg-type]
    assert plain.arguments.getlist("a") == ["1"]
