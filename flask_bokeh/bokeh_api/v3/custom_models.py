"""Compile custom models: classes with an ``__implementation__`` in TypeScript or JavaScript.

Bokeh compiles all custom models of a process together, when a page needs its scripts. If one does
not compile, Bokeh calls ``sys.exit()``; if a file or Node.js is missing, it raises. Either would
break every page. Here the other models are compiled without it, and only the documents that use it
fail.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from bokeh.core.has_props import HasProps
from bokeh.util.compiler import bundle_models

from ...errors import ScriptError

if TYPE_CHECKING:
    from bokeh.document import Document

__all__ = ("bundle_what_compiles", "check_compiled")

logger = logging.getLogger("flask_bokeh")

_failures: dict[tuple[str, str], str] = {}
"""Reasons why models can't be compiled, by name and source: a script makes new classes for each
session, of the same source."""


def bundle_what_compiles() -> str | None:
    """Return the script of all custom models that can be compiled; None if there are none.

    This takes seconds: Node.js is started for each model.
    """
    good = []
    for model in list(HasProps.model_class_reverse_map.values()):
        # A script's module is removed with its session, and its classes some time later.
        if (key := _key(model)) is None or key in _failures or model.__module__ not in sys.modules:
            continue
        try:
            bundle_models([model])
        except (Exception, SystemExit) as error:  # noqa: BLE001  # raised by check_compiled
            _failures[key] = reason = _reason(error)
            logger.error("The custom model %s can't be compiled: %s", model.__name__, reason)
        else:
            good.append(model)
    return bundle_models(good) if good else None


def check_compiled(doc: Document) -> None:
    """:raises ScriptError: if a document holds a model that could not be compiled."""
    if not _failures:
        return
    for model in {type(model) for model in doc.models}:
        key = _key(model)
        if key is not None and key in _failures:
            raise ScriptError(
                f"The custom model {model.__name__} can't be compiled", _failures[key]
            )


def _key(model: type[Any]) -> tuple[str, str] | None:
    implementation = getattr(model, "__implementation__", None)
    if implementation is None:
        return None
    return model.__name__, str(getattr(implementation, "code", implementation))


def _reason(error: BaseException) -> str:
    # Bokeh prints the compiler's message and exits in the except block of the compiler's error.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return str(cause).strip() or repr(cause)
