"""The layers of the package: imports run down, and each room imports only what it may."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flask_bokeh"

# From the top. A room may import from the rooms below its own; see CONTRIBUTING.md.
LAYERS = [
    ["__init__"],
    ["extension"],
    ["cli"],
    ["checks"],
    ["web"],
    ["state"],
    ["server"],
    ["applications"],
    ["workers"],
    ["bokeh_api"],
    ["hijack"],
    ["security"],
    ["runtime"],
    ["log_redaction", "file_versions"],
    ["settings"],
    ["setting_checks"],
    ["server_options"],
    ["errors"],
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Packages, and the only rooms that may import them.
ALLOWED: dict[str, set[str]] = {
    "bokeh.server": {"bokeh_api"},
    "bokeh.client": {"bokeh_api"},
    "bokeh.embed": {"bokeh_api"},
    "flask": {"__init__", "extension", "cli", "checks", "web"},
    "werkzeug": {"extension", "cli", "web", "hijack"},
    "gevent": set(),
}
# Rooms that may import only some of the rooms below them.
INDEPENDENT = {
    "bokeh_api": {"runtime", "log_redaction", "file_versions", "settings", "errors"},
    "hijack": {"runtime", "log_redaction", "errors"},
}


@cache
def modules() -> tuple[str, ...]:
    """Return the modules of the package, such as ``web.pages``."""
    names = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return tuple(sorted(map(".".join, names)))


def path_of(module: str) -> Path:
    return PACKAGE / Path(*module.split(".")).with_suffix(".py")


def room(module: str) -> str:
    return module.split(".")[0]


@cache
def imports(module: str) -> frozenset[str]:
    """Return the absolute names that a module imports, such as ``flask_bokeh.errors``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ["flask_bokeh", *module.split(".")][: -node.level] if node.level else []
            parent = ".".join([*base, *([node.module] if node.module else [])])
            found.add(parent)
            found |= {f"{parent}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(module: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    names = {name.removeprefix("flask_bokeh.") for name in imports(module)}
    packages = {f"{name}.__init__" for name in names}
    return ((names | packages) & set(modules())) - {module, "__init__"}


def test_every_file_is_in_a_room() -> None:
    assert {room(module) for module in modules()} == set(LEVEL)


def test_contributing_shows_every_file() -> None:
    drawn = (PACKAGE.parent / "CONTRIBUTING.md").read_text().split("```")[1]
    words = set(drawn.replace("/", " ").split())
    files = {module.split(".")[-1] for module in modules()} - {"__init__"}
    assert (files | set(LEVEL)) - words - {"__init__"} == set()


def test_imports_run_down() -> None:
    """A module imports from rooms below its own, and from its own room."""
    upward = {
        (module, name)
        for module in modules()
        for name in own_imports(module)
        if LEVEL[room(name)] <= LEVEL[room(module)] and room(name) != room(module)
    }
    assert upward == set()


def test_imports_have_no_cycles() -> None:
    # Raises a CycleError, which names the modules.
    TopologicalSorter({module: own_imports(module) for module in modules()}).prepare()


@pytest.mark.parametrize("package", ALLOWED)
def test_package_is_imported_only_in_its_rooms(package: str) -> None:
    """Bokeh's server, client and embed modules, for example, are imported in one room."""
    using = {
        room(module)
        for module in modules()
        for name in imports(module)
        if f"{name}.".startswith(f"{package}.")
    }
    assert using - ALLOWED[package] == set()


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_room_imports_only_its_listed_rooms(name: str) -> None:
    """The rooms for Bokeh and for sockets can be read and replaced on their own."""
    imported = {
        (module, other)
        for module in modules()
        if room(module) == name
        for other in own_imports(module)
        if room(other) not in {*INDEPENDENT[name], name}
    }
    assert imported == set()


def test_files_have_at_most_330_lines() -> None:
    """A longer file holds more than one idea."""
    sizes = {module: len(path_of(module).read_text().splitlines()) for module in modules()}
    assert {module: size for module, size in sizes.items() if size > 330} == {}
