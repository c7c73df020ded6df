"""Keep the documents of ``curdoc()`` apart on Bokeh 3.9, where all threads share one list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bokeh.io import doc as bokeh_doc

__all__ = ("isolate_curdoc", "restore_curdoc")


def isolate_curdoc() -> None:
    """Give each thread and task a ``curdoc()`` of its own, as Bokeh 3.10 does. Idempotent.

    Bokeh 3.9 has one list for the whole process. While a view edits a pulled session, scripts that
    run on the loop would fill its document, and scripts of another Flask application that of its
    own: a visitor would see what is meant for another one. There is no public way to avoid that,
    so this is the one place where an object inside another package is replaced.
    """
    if isinstance(bokeh_doc._PATCHED_CURDOCS, list):
        bokeh_doc._PATCHED_CURDOCS = _Curdocs()  # type: ignore[assignment,unused-ignore]


@contextmanager
def restore_curdoc() -> Iterator[None]:
    """Reset ``curdoc()`` at the end of the block, as Bokeh 3.9 forgets when a callback raises."""
    curdocs: Any = bokeh_doc._PATCHED_CURDOCS
    if not isinstance(curdocs, _Curdocs):
        yield
        return
    before = curdocs.stack.get()
    try:
        yield
    finally:
        curdocs.stack.set(before)


class _Curdocs:
    """The stack of documents that ``curdoc()`` returns the last one of: one for each context."""

    def __init__(self) -> None:
        self.stack: ContextVar[tuple[Any, ...]] = ContextVar("flask_bokeh.curdocs", default=())

    def append(self, document: Any) -> None:
        self.stack.set((*self.stack.get(), document))

    def pop(self) -> Any:
        *rest, last = self.stack.get()
        self.stack.set(tuple(rest))
        return last

    def __len__(self) -> int:
        return len(self.stack.get())

    def __getitem__(self, index: int) -> Any:
        return self.stack.get()[index]
