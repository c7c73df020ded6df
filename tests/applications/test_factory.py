"""Application factories on one FlaskBokeh: called for each test, or for several sites."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bokeh.application import Application
from bokeh.document import Document
from flask import Flask, abort
from werkzeug.exceptions import Unauthorized

from flask_bokeh import FlaskBokeh, PulledSession, RegistrationError, UnknownApplicationError
from flask_bokeh.applications.repeated_registrations import is_same_source


def fill(doc: Document) -> None:
    doc.title = "filled"


def new_app(**config: Any) -> Flask:
    app = Flask("tests.app")
    app.config.update(SECRET_KEY="a secret key for the tests only", **config)
    return app


def title(app: Flask, bokeh: FlaskBokeh, path: str = "/x") -> str:
    """Return the title of a new session's document."""
    with app.test_request_context(), bokeh.pull_session(path) as session:
        assert isinstance(session, PulledSession)
        return session.document.title


def before(bokeh: FlaskBokeh, app: Flask, register: Callable[[], None]) -> None:
    register()
    bokeh.init_app(app)


def after(bokeh: FlaskBokeh, app: Flask, register: Callable[[], None]) -> None:
    bokeh.init_app(app)
    register()


@pytest.mark.parametrize("order", [before, after])
@pytest.mark.parametrize("pages", [True, False], ids=["with pages", "without pages"])
def test_factory_called_again_adds_no_duplicates(
    bokeh: FlaskBokeh, order: Any, pages: bool
) -> None:
    """Hooks and guards that the factory registers again run once in each application."""
    asked: list[str] = []

    def create_app() -> Flask:
        app = new_app()

        def register() -> None:
            bokeh.add_application("/module", fill)

            @bokeh.application("/x")
            def own(doc: Document) -> None:
                doc.title = "own"

            @bokeh.customize("/x")
            def add(doc: Document, visit: object) -> None:
                doc.title += "+"

            @bokeh.guard("/x")
            def ask() -> bool:
                asked.append("asked")
                return True

            @bokeh.user_loader
            def user() -> str:
                return "ann"

        order(bokeh, app, register)
        return app

    apps = []
    for _ in range(3):
        apps.append(create_app())
        if pages:
            assert title(apps[-1], bokeh) == "own+"
    asked.clear()
    for app in apps:
        assert title(app, bokeh) == "own+"
        assert title(app, bokeh, "/module") == "filled"
    assert asked == ["asked"] * 3


def test_each_application_has_its_own_registrations(bokeh: FlaskBokeh) -> None:
    """Later registrations apply only to Flask applications that have not made a page."""
    bokeh.add_application("/x", fill)
    first = new_app()
    bokeh.init_app(first)
    assert title(first, bokeh) == "filled"
    second = new_app()
    bokeh.init_app(second)
    bokeh.add_application("/y", lambda doc: None)
    bokeh.customize("/x")(lambda doc, visit: setattr(doc, "title", f"for {visit.user}"))
    bokeh.guard("/y")(lambda: abort(401))
    bokeh.user_loader(lambda: "bob")
    assert title(second, bokeh) == "for bob"
    for again in range(2):
        assert title(first, bokeh) == "filled", again
        with first.app_context():  # the next server has the same registrations
            bokeh.stop()
    with pytest.raises(UnknownApplicationError, match="Registered: /x"):
        title(first, bokeh, "/y")


def add_late_application(bokeh: FlaskBokeh) -> None:
    bokeh.add_application("/y", fill)


def add_late_hook(bokeh: FlaskBokeh) -> None:
    bokeh.customize()(lambda doc, visit: setattr(doc, "title", f"late for {visit.user}"))


def add_late_guard(bokeh: FlaskBokeh) -> None:
    bokeh.guard("/x")(lambda: abort(401))


def add_late_user_loader(bokeh: FlaskBokeh) -> None:
    bokeh.user_loader(lambda: "ann")


LATE = [add_late_application, add_late_hook, add_late_guard, add_late_user_loader]


@pytest.mark.parametrize("register", LATE)
def test_late_registration_in_a_view_is_refused(bokeh: FlaskBokeh, register: Any) -> None:
    """It would have no effect: all applications have made their first page."""
    app = new_app()
    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    title(app, bokeh)
    with app.test_request_context():
        with pytest.raises(RegistrationError, match=r"^Registered too late.*in create_app\(\), or"):
            register(bokeh)
        bokeh.add_application("/x", fill)  # repeated: no effect
    assert title(app, bokeh) == "filled"


@pytest.mark.parametrize("register", LATE)
def test_late_registration_outside_of_views_is_refused(bokeh: FlaskBokeh, register: Any) -> None:
    """The next page raises the error, unless a newer application has the registration."""
    app = new_app()
    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    title(app, bokeh)
    register(bokeh)
    for _ in range(2):
        with pytest.raises(RegistrationError, match=r"^Registered too late.*in create_app\(\), or"):
            title(app, bokeh)
    bokeh.init_app(new_app())
    assert title(app, bokeh) == "filled"


@pytest.mark.parametrize("newer", ["initialized before", "initialized after"])
@pytest.mark.parametrize("register", LATE)
def test_late_registration_is_for_newer_applications(
    bokeh: FlaskBokeh, register: Any, newer: str
) -> None:
    """Only applications without a first page get the registration."""
    old, new = new_app(), new_app()
    bokeh.add_application("/x", fill)
    bokeh.init_app(old)
    title(old, bokeh)
    if newer == "initialized before":
        bokeh.init_app(new)
    register(bokeh)
    if newer == "initialized after":
        bokeh.init_app(new)
    assert title(old, bokeh) == "filled"
    if register is add_late_application:
        assert title(new, bokeh, "/y") == "filled"
    elif register is add_late_hook:
        assert title(new, bokeh) == "late for None"
    elif register is add_late_guard:
        with pytest.raises(Unauthorized):
            title(new, bokeh)
    else:
        add_late_hook(bokeh)
        assert title(new, bokeh) == "late for ann"


NAMES = ("ab", "bcd", "a", "ef")
PARTS: dict[str, tuple[Any, Any, Any]] = {
    name: (
        lambda doc, name=name: setattr(doc, "title", name),
        lambda doc, visit: setattr(doc, "title", doc.title + visit.path),
        lambda name=name: bool(name),
    )
    for name in "abcdef"
}


def register_one(bokeh: FlaskBokeh, name: str) -> None:
    application, hook, guard = PARTS[name]
    bokeh.application(f"/{name}")(application)
    bokeh.customize(f"/{name}")(hook)
    bokeh.guard(f"/{name}")(guard)


@pytest.mark.parametrize("first", [0, 1, 10], ids=["init_app first", "between", "init_app last"])
@pytest.mark.parametrize("keep", [True, False], ids=["apps are kept", "apps are dropped"])
def test_factory_may_register_other_plots_for_each_test(
    bokeh: FlaskBokeh, first: int, keep: bool
) -> None:
    """Each application has its own plots, in any order of init_app and registrations."""
    kept = []
    for names in NAMES:
        app = new_app()
        for name in names[:first]:
            register_one(bokeh, name)
        bokeh.init_app(app)
        for name in names[first:]:
            register_one(bokeh, name)
        for name in names:
            assert title(app, bokeh, f"/{name}") == f"{name}/{name}"
        if keep:
            kept.append((app, names))
        else:
            with app.app_context():
                bokeh.stop()
    for app, names in kept:
        for name in names:
            assert title(app, bokeh, f"/{name}") == f"{name}/{name}"


@pytest.mark.parametrize("pages", [True, False], ids=["with pages", "without pages"])
@pytest.mark.parametrize("kind", ["application", "customize", "guard"])
def test_functions_bound_to_one_application_are_refused(
    bokeh: FlaskBokeh, kind: str, pages: bool
) -> None:
    """A factory whose functions differ between applications gets an error with advice."""

    def create_app(name: str) -> Flask:
        app = new_app()
        bokeh.init_app(app)
        if kind == "application":
            bokeh.application("/x")(lambda doc: setattr(doc, "title", name))
        elif kind == "customize":
            bokeh.customize("/x")(lambda doc, visit: setattr(doc, "title", name))
        else:
            bokeh.guard("/x")(lambda: bool(name))
        return app

    if kind != "application":
        bokeh.add_application("/x", fill)
    first = create_app("one")
    if pages:
        title(first, bokeh)
    with pytest.raises(RegistrationError, match=r"outside of create_app\(\), or make the Flask"):
        create_app("other")


def test_guards_that_differ_in_a_value_all_run(bokeh: FlaskBokeh) -> None:
    """Guards from one function, which differ only in a value of its closure, are all kept."""
    app, asked = new_app(), []

    def require(role: str) -> Callable[[], bool]:
        def check() -> bool:
            asked.append(role)
            return True

        return check

    bokeh.add_application("/x", fill)
    bokeh.init_app(app)
    for role in ("staff", "admin", "staff"):
        bokeh.guard("/x")(require(role))
    title(app, bokeh)
    assert asked == ["staff", "admin"]


def test_flask_bokeh_in_the_factory_works(bokeh: FlaskBokeh) -> None:
    """The advice of the error works: each application has an extension of its own."""
    for name in ("one", "other"):
        app = new_app()
        own = FlaskBokeh(app)
        own.add_application("/x", fill)
        own.customize("/x")(lambda doc, visit, name=name: setattr(doc, "title", name))
        assert title(app, own) == name


def make(value: object, default: object = 1) -> Callable[..., Any]:
    def made(doc: object, *, keyword: object = default) -> object:
        return value

    return made


application, unlike = Application(), object()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (fill, fill, True),
        (fill, make, False),
        (make(1), make(1), True),
        (make(1), make(2), False),
        (make(1), make(True), False),
        (make("a"), make("a"), True),
        (make(unlike), make(unlike), True),
        (make([]), make([]), False),
        (make(1, 2), make(1, 2), True),
        (make(1, 2), make(1, 3), False),
        (partial(make, 1), partial(make, 1), True),
        (partial(make, 1), partial(make, 2), False),
        (partial(make, value=1), partial(make, value=1), True),
        (partial(make, value=1), partial(make, default=1), False),
        ([].append, [].append, False),
        ("a.py", Path("a.py"), True),
        ("a.py", "b.py", False),
        (application, application, True),
        (application, Application(), False),
        (fill, "a.py", False),
    ],
)
def test_same_source_is_recognized(one: object, other: object, same: bool) -> None:
    """Sources are the same if they are one object, one file, or one function with equal values."""
    assert is_same_source(one, other) is same
