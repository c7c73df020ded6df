"""Custom models: those whose class has an ``__implementation__`` in TypeScript or JavaScript.

Bokeh compiles all of a process together, when a page needs its scripts. If one does not compile,
it calls ``sys.exit()``; if a file or Node.js is missing, it raises: either would take every page
down. Here the others are compiled without it, and the documents that use it fail by themselves.
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
"""Why a model can't be compiled. A script makes new classes for each session, of the same text."""


def bundle_what_compiles() -> str | None:
    """Return the script with all custom models but those that can't be compiled; None for none.

    It takes long: Node.js is started for each model.
    """
    good = []
    for model in list(HasProps.model_class_reverse_map.values()):
        # A script's module goes with its session, and its classes some time later.
        if (key := _key(model)) is None or key in _failures or model.__module__ not in sys.modules:
            continue
        try:
            bundle_models([model])
        except (Exception, SystemExit) as error:  # noqa: BLE001  # told to whoever uses it
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
    # Bokeh prints what the compiler said, and exits where it handles that error.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return str(cause).strip() or repr(cause)
