"""The arguments of a session: strings by name, one or several for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ArgumentsError, kind_of

__all__ = ("Arguments", "all_values")


class Arguments(dict[str, str]):
    """A dict with the first value of each name; :meth:`getlist` returns all of them.

    The same interface as ``request.args`` in Flask, for ``?region=Lyon&region=Oslo``.
    """

    __slots__ = ("_lists",)

    def __init__(self, values: Mapping[str, str | Iterable[str]] | None = None) -> None:
        """:param values: a string, or strings, for each name."""
        self._lists: dict[str, list[str]] = {}
        for name, given in (values or {}).items():
            some = [given] if isinstance(given, str) else list(given)
            if some:
                self._lists[name] = some
        super().__init__({name: some[0] for name, some in self._lists.items()})

    def getlist(self, name: str) -> list[str]:
        """Return all values of a name; an empty list for an unknown name."""
        return list(self._lists.get(name, ()))

    def lists(self) -> dict[str, list[str]]:
        """Return all values of all names."""
        return {name: list(some) for name, some in self._lists.items()}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Arguments):
            return self._lists == other._lists
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:  # dict has its own
        return not self == other

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Arguments, (self._lists,)

    @classmethod
    def of(cls, path: str, given: Mapping[str, Any]) -> Arguments:
        """Convert the arguments of an embed or of ``pull_session`` to strings.

        None means no argument, because ``request.args.get("region")`` returns it.

        :param path: the application, for errors.
        :raises ArgumentsError: unless each value is a string, a number, None, or a list of them.
        """
        texts: dict[str, list[str]] = {}
        for name, value in all_values(path, given).items():
            some = value if isinstance(value, list | tuple) else [value]
            for one in some:
                if not isinstance(name, str) or not isinstance(one, str | int | float | None):
                    raise ArgumentsError(
                        f"arguments for {path!r} has {name!r}, {kind_of(value)}; expected strings "
                        "or numbers, or a list of them. Pass other JSON values as data."
                    )
            texts[name] = [str(one) for one in some if one is not None]
        return cls(texts)


def all_values(path: str, given: object) -> dict[str, Any]:
    """Return a mapping as a dict, with lists for the values of a ``MultiDict``.

    :raises ArgumentsError: if it is not a mapping.
    """
    if not isinstance(given, Mapping):
        raise ArgumentsError(
            f"arguments for {path!r} is a {type(given).__name__}; expected a dict."
        )
    getlist = getattr(given, "getlist", None)
    if getlist is None:
        return dict(given)
    return {name: getlist(name) for name in given}
