"""Safe text for the log: one line for each record, of limited length, without visitors' secrets.

Text from clients is escaped and shortened. The content of a WebSocket message is not logged,
because it may be what somebody typed into a password field.
"""

from __future__ import annotations

import copy
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Number
from typing import Any

from bokeh.core.serialization import SerializationError

__all__ = (
    "LineFormatter",
    "Lines",
    "describe",
    "handling_a_message",
    "location",
    "printable",
    "raised_in_application",
)

_MAX_TEXT = 1000
"""Maximum characters that are logged of the text of an exception."""
_MAX_FRAMES = 20
_MAX_VALUES = 1000
"""Maximum values of a message that are searched for in the text of an exception."""
_WITHHELD = "<withheld: it may hold what the browser sent>"
# Packages without code of an application. An exception raised by these alone is about the message
# itself.
_LIBRARIES = frozenset(
    [
        *["asyncio", "base64", "bokeh", "concurrent", "contextlib", "flask_bokeh", "functools"],
        *["gzip", "inspect", "json", "narwhals", "numpy", "pandas", "threading", "tornado"],
        "warnings",
    ]
)


class Lines(str):
    """Text of several lines that needs no escaping."""

    __slots__ = ()


def printable(text: object, limit: int = _MAX_TEXT) -> str:
    """Return text on one line, without control characters, shortened to a limit."""
    whole = str(text)
    short = whole if len(whole) <= limit else f"{whole[:limit]}... ({len(whole):,} in all)"
    if short.isprintable():
        return short
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in short)


def describe(error: BaseException, content: Any = None) -> Lines:
    """Return the tracebacks of an exception and of its causes, for the log.

    :param content: the content of the WebSocket message that was being handled. The returned text
        holds none of its values.
    """
    hidden = None if not content else _values(content)
    return Lines("\n".join(_describe(error, hidden, set())))


def _describe(error: BaseException, hidden: _Hidden | None, known: set[int]) -> Iterator[str]:
    """:param known: ids of the exceptions that have been described."""
    known.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in known and len(known) < 10:
        yield from _describe(earlier, hidden, known)
        yield "which led to:"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__, limit=-_MAX_FRAMES)).rstrip()
    yield f"{type(error).__name__}: {_text(error, hidden)}"
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            if id(one) not in known and len(known) < 10:
                yield "in which:"
                yield from _describe(one, hidden, known)


def location(error: BaseException) -> str:
    """Return the type of an exception and the line that raised it, without its text."""
    *_, last = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{type(error).__name__} in {last.name} ({last.filename}:{last.lineno})"


def raised_in_application(error: BaseException) -> bool:
    """Return whether code of an application is in the traceback of an exception."""
    return any(
        str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _text(error: BaseException, hidden: _Hidden | None) -> str:
    try:
        text = "; ".join(map(str, [error, *getattr(error, "__notes__", [])]))
    except Exception:  # noqa: BLE001  # from __str__ of a class of the application
        return "<no text>"
    if hidden is None or isinstance(error, SerializationError):  # it shows values of the server
        return printable(text)
    if hidden.too_many or len(text) > 100 * _MAX_TEXT or not raised_in_application(error):
        return _WITHHELD
    for value in hidden.values:
        if len(value) < 4:  # it may be a part of other words
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "<sent>", text)
        else:
            text = text.replace(value, "<sent>").replace(repr(value)[1:-1], "<sent>")
    return printable(text)


@dataclass(frozen=True, slots=True)
class _Hidden:
    """The values of a message, which must not be logged, longest first."""

    values: list[str]
    too_many: bool = False


def _values(content: Any) -> _Hidden:
    found: set[str] = set()
    waiting = [content]
    for _ in range(20 * _MAX_VALUES):
        if not waiting:
            return _Hidden(sorted(found, key=len, reverse=True))
        value = waiting.pop()
        if isinstance(value, dict):
            names = _NAMES if "type" in value or "kind" in value else ("id",)
            waiting += [inner for key, inner in value.items() if key not in names]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            found.add(str(value))
        if len(found) > _MAX_VALUES or len(waiting) > 20 * _MAX_VALUES:
            break
    return _Hidden([], too_many=True)


# Keys of a message whose values are set by BokehJS, not by a visitor.
_NAMES = ("id", "kind", "type", "model", "attr", "name", "msg_type", "event_name", "dtype", "order")

_handling: ContextVar[bool] = ContextVar("flask_bokeh.handling", default=False)


@contextmanager
def handling_a_message() -> Iterator[None]:
    """Keep the content of a message out of the records of Bokeh's own loggers, in the block.

    Other Bokeh servers in the process are not affected.
    """
    for name, keep in _FILTERS.items():
        logging.getLogger(name).addFilter(keep)  # has no effect the second time
    token = _handling.set(True)
    try:
        yield
    finally:
        _handling.reset(token)


def _drop(_: logging.LogRecord) -> bool:
    """Drop records of errors that flask_bokeh logs itself."""
    return not _handling.get()


def _shorten(record: logging.LogRecord) -> bool:
    """Shorten names of unknown properties, which come from the browser."""
    if _handling.get() and isinstance(record.args, tuple):
        record.args = tuple(_Argument(value, 100) for value in record.args)
    return True


_FILTERS = {"bokeh.protocol": _drop, "bokeh.core.has_props": _shorten}


class LineFormatter(logging.Formatter):
    """Format records so that no text of a client can look like a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        record.exc_text = None  # cached by another formatter
        if isinstance(record.args, tuple):
            record.args = tuple(
                value if isinstance(value, Number | Lines) else _Argument(value, 10 * _MAX_TEXT)
                for value in record.args
            )
        lines = super().format(record).split("\n")
        return "\n    ".join(printable(line, 100 * _MAX_TEXT) for line in lines)

    def formatException(self, ei: Any) -> str:
        return "None" if ei[1] is None else describe(ei[1])


class _Argument:
    """An argument of a log record that is printed on one line."""

    def __init__(self, value: object, limit: int) -> None:
        self._value = value
        self._limit = limit

    def __str__(self) -> str:
        return printable(self._value, self._limit)

    def __repr__(self) -> str:
        return printable(repr(self._value), self._limit)
