"""Keep the documents of ``curdoc()`` apart on Bokeh 3.9, where all threads share one list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bokeh.io import doc as bokeh_doc

__all__ = ("isolate_curdoc", "restore_curdoc")


class _Curdocs:
    """The documents that ``curdoc()`` may return: those of one thread, or one task."""

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


def isolate_curdoc() -> None:
    """Give each thread a ``curdoc()`` of its own, as Bokeh 3.10 does.

    Bokeh 3.9 has one list for the whole process. While a view edits a pulled session, scripts that
    run on the loop would fill its document, and those of another Flask application that of theirs:
    what one visitor should see was shown to another. There is no way around that list, so this is
    the one thing that we replace inside another package.
    """
    if isinstance(bokeh_doc._PATCHED_CURDOCS, list):
        bokeh_doc._PATCHED_CURDOCS = _Curdocs()  # type: ignore[assignment,unused-ignore]


@contextmanager
def restore_curdoc() -> Iterator[None]:
    """Bokeh 3.9 forgets to put ``curdoc()`` back when a callback raises."""
    curdocs: Any = bokeh_doc._PATCHED_CURDOCS
    if not isinstance(curdocs, _Curdocs):
        yield
        return
    before = curdocs.stack.get()
    try:
        yield
    finally:
        curdocs.stack.set(before)
