"""Write each page as plain Markdown beside its HTML, and ``llms.txt``, which lists them all.

The sources are Markdown already. What only Sphinx understands is replaced here: lists of pages,
included files, and the reference, which autodoc makes from docstrings.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import toctree as Toctree
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_DIRECTIVE = re.compile(r"^```\{([\w-]+)\}[ ]*(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_AUTODOC = re.compile(r"^\.\. auto\w+:: flask_bokeh\.([\w.]+)(\(\))?\n((?:   .*\n)*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


@dataclass(frozen=True)
class Documented:
    """An object that autodoc has documented."""

    kind: str
    name: str
    signature: str
    lines: list[str]

    def markdown(self) -> str:
        level = "####" if self.kind in ("method", "property", "attribute") else "###"
        return f"{level} `{self.name}{self.signature}`\n\n{from_docstring(self.lines)}\n"


def from_docstring(lines: list[str]) -> str:
    """Translate the reStructuredText of a docstring."""
    text = inspect.cleandoc("\n".join(lines)).strip()
    text = re.sub(r":(?:py:)?\w+:`~?(?:[^`<]*<)?([^`>]+)>?`", r"`\1`", text)
    text = text.replace("``", "`")
    text = re.sub(r"^:param (\w+):", r"- `\1`:", text, flags=re.MULTILINE)
    text = re.sub(r"^:raises ([\w.]+):", r"- raises `\1`:", text, flags=re.MULTILINE)
    text = re.sub(r"^:ivar (\w+):", r"- `.\1`:", text, flags=re.MULTILINE)
    text = re.sub(r"^:returns?:", r"- returns", text, flags=re.MULTILINE)
    return re.sub(r"\n(?:    ?)(\S)", r"\n  \1", text)


def remember(
    app: Sphinx, kind: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """Keep what autodoc has found, in the order of the page."""
    try:
        signature = str(inspect.signature(documented)) if callable(documented) else ""
    except ValueError:
        signature = ""
    signature = re.sub(r"\(self(, )?", "(", signature).replace("'", "")
    if kind == "exception":  # raised by us: nobody calls it
        signature = ""
    found = documented_on(app.env).setdefault(app.env.docname, [])
    found.append(Documented(kind, name.removeprefix("flask_bokeh."), signature, list(lines)))


def documented_on(env: BuildEnvironment) -> dict[str, list[Documented]]:
    """Return what autodoc has documented, by page."""
    # Kept with the environment, so that a page that is not read again still has its own.
    documented: dict[str, list[Documented]] = vars(env).setdefault("markdown_documented", {})
    return documented


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget a page that is read again."""
    documented_on(env).pop(docname, None)


def describe(env: BuildEnvironment, docname: str) -> str:
    """Return the first sentence of a page."""
    for paragraph in env.get_doctree(docname).findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        return re.split(r"(?<=[.!?:])\s+(?=[A-Z`])", text)[0].rstrip(":")
    return ""


def sections(env: BuildEnvironment) -> Iterator[tuple[str, list[str]]]:
    """Yield the captions of the front page's lists of pages, each with all pages below it."""
    for tree in env.get_doctree(env.config.root_doc).findall(Toctree):
        yield (
            str(tree["caption"] or ""),
            [name for _, child in tree["entries"] for name in _with_children(env, child)],
        )


def _with_children(env: BuildEnvironment, docname: str) -> Iterator[str]:
    yield docname
    for child in env.toctree_includes.get(docname, []):
        yield from _with_children(env, child)


def as_markdown(app: Sphinx, docname: str) -> str:
    """Return a page as Markdown without directives."""
    source = Path(app.env.doc2path(docname))

    def expand(match: re.Match[str]) -> str:
        kind, argument, body = match.groups()
        if kind == "toctree":
            return _page_list(app.env, docname, body)
        if kind == "include":
            return (source.parent / argument).read_text().strip().replace("](docs/", "](")
        if kind == "eval-rst":
            found = documented_on(app.env).get(docname, [])
            return "\n".join(
                (replace(one, signature="") if hidden else one).markdown()
                for name, hidden, options in _AUTODOC.findall(body)
                for one in found
                if one.name == name or (":members:" in options and one.name.startswith(f"{name}."))
            )
        raise ValueError(f"{source.name} has a directive that Markdown does not know: {kind}")

    return _DIRECTIVE.sub(expand, source.read_text())


def _page_list(env: BuildEnvironment, docname: str, body: str) -> str:
    folder = os.path.dirname(docname)
    names = [line for line in body.splitlines() if line and not line.startswith(":")]
    return "\n".join(
        f"- [{env.titles[name].astext()}]({os.path.relpath(name, folder or '.')}.md)"
        for name in (os.path.normpath(os.path.join(folder, one)) for one in names)
    )


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the pages, the files that they link to, and ``llms.txt``."""
    if error is not None or app.builder.format != "html":
        return
    source, target = Path(app.srcdir), Path(app.outdir)
    for docname in app.env.found_docs:
        page = target / f"{docname}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        text = as_markdown(app, docname)
        page.write_text(text)
        for link in _LINK.findall(text):
            linked = (source / docname).parent / link
            if linked.suffix != ".md" and linked.is_file():
                copy = page.parent / link
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(linked, copy)
    (target / "llms.txt").write_text(index(app))


def index(app: Sphinx) -> str:
    """Return ``llms.txt``: every page with its title, its first sentence and its address."""
    env = app.env
    lines = [f"# {app.config.project}", "", f"> {describe(env, app.config.root_doc)}"]
    for caption, names in sections(env):
        lines += ["", f"## {caption}", ""]
        lines += [f"- [{env.titles[n].astext()}]({n}.md): {describe(env, n)}" for n in names]
    return "\n".join(lines) + "\n"


def link(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Tell of the Markdown in the head of the HTML, and describe the page there."""
    if doctree is None:
        return
    name = os.path.basename(pagename)
    description = nodes.Text(describe(app.env, pagename)).astext().replace('"', "&quot;")
    context["metatags"] = (
        f"{context.get('metatags', '')}"
        f'<meta name="description" content="{description}">'
        f'<link rel="alternate" type="text/markdown" href="{name}.md" title="Markdown">'
    )


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", remember)
    app.connect("env-purge-doc", forget)
    app.connect("html-page-context", link)
    app.connect("build-finished", write)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
