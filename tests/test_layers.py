"""The house stands: each file imports downwards only, and flask stays in the top layers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flask_bokeh"

# From the top; a file may import from the lines below its own. See CONTRIBUTING.md.
LAYERS = [
    ["__init__"],
    ["extension"],
    ["wiring"],
    ["bridge.views", "cli"],
    ["bridge.pages"],
    ["templating", "host", "access", "bridge.asked", "bridge.headers", "bridge.hosts"],
    ["state"],
    ["sessions", "closing"],
    ["server", "customize"],
    ["ending", "client_connection"],
    ["embed", "bokeh_compat", "directories", "bridge.handoff", "bridge.servers", "bridge.owner"],
    ["bokeh_sockets", "bokeh_sessions"],
    ["serialization", "patching"],
    ["bridge.streams", "bridge.taking", "bridge.affinity", "tokens", "limits", "site"],
    ["bokeh_logs", "bokeh_patches"],
    ["ended", "registrations"],
    [
        *["bridge.bodies", "config", "custom_models", "lifetime", "listening", "loop", "registry"],
        *["visits", "watchdog"],
    ],
    [
        "setting_checks",
        "arguments",
        "bridge.folder",
        "long_waits",
        "message_limits",
        "turns",
        "websocket_reads",
        "bridge.lingering",
        "bridge.origin",
        "bridge.upgrade",
    ],
    [
        *["bokeh_version", "errors", "native", "page_templates", "repeats", "server_options"],
        *["versions", "bridge.__init__"],
    ],
]
FLASK = {
    "__init__",
    "extension",
    "wiring",
    "access",
    "bridge.asked",
    "bridge.headers",
    "bridge.hosts",
    "bridge.pages",
    "bridge.views",
    "cli",
    "host",
    "templating",
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> list[str]:
    return sorted(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
    )


def imports(module: str) -> set[str]:
    """Absolute names, as ``flask`` or ``flask_bokeh.errors``."""
    path = PACKAGE / Path(*module.split(".")).with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ["flask_bokeh", *module.split(".")][: -node.level] if node.level else []
            parent = ".".join([*base, *([node.module] if node.module else [])])
            found.add(parent)
            found |= {f"{parent}.{alias.name}" for alias in node.names}
    return found


def test_the_map_is_complete() -> None:
    """Every file has its place in a layer."""
    assert modules() == sorted(LEVEL)


def test_the_map_is_drawn() -> None:
    """CONTRIBUTING.md shows every file."""
    drawn = (PACKAGE.parent / "CONTRIBUTING.md").read_text().split("```")[1]
    words = {word.replace("/", ".") for word in drawn.split()}
    assert set(modules()) - words == {"bridge.__init__"}


def test_one_file_embeds() -> None:
    """Only one imports bokeh.embed, which Bokeh 4 will change."""
    embedding = [
        name
        for name in modules()
        if any(imported.startswith("bokeh.embed") for imported in imports(name))
    ]
    assert embedding == ["embed"]


@pytest.mark.parametrize("module", modules())
def test_imports_go_down(module: str) -> None:
    """A file imports only from layers below its own, or beside it in the engine."""
    ours = {
        name.removeprefix("flask_bokeh.")
        for name in imports(module)
        if name.removeprefix("flask_bokeh.") in LEVEL
    }
    assert {name for name in ours if LEVEL[name] <= LEVEL[module]} == set()


@pytest.mark.parametrize("module", modules())
def test_flask_stays_on_top(module: str) -> None:
    """Only the web glue, the extension and the package itself know Flask."""
    uses = any(name.split(".")[0] in ("flask", "werkzeug") for name in imports(module))
    assert not uses or module in FLASK


@pytest.mark.parametrize("module", modules())
def test_files_stay_small(module: str) -> None:
    """A file that grows past some 300 lines holds more than one idea."""
    path = PACKAGE / Path(*module.split(".")).with_suffix(".py")
    assert len(path.read_text().splitlines()) <= 330
