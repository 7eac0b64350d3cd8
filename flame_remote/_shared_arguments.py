"""Large values that many calls take: stored once, and passed on as refs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from flame_remote._api import put
from flame_remote._refs import ObjectRef

Calls = list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]

_ARGS: Final = itemgetter(1)
_KWARGS: Final = itemgetter(2)
# Looked for first: most calls take nothing else.
_PLAIN: Final = frozenset({bool, bytes, complex, dict, float, int, list, str, tuple, type(None)})


class Place:
    """Stands, in the arguments of a call, for one of the values that travel beside them."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.number,)


class SharedArguments:
    """The large values of one run of calls, each stored when it is first passed.

    Values are told apart by identity, so one must not be changed while the run goes on. What the
    program lets go is let go here too. Safe to use from any thread.
    """

    def __init__(self, at_least_bytes: int | None) -> None:
        """Share values of `at_least_bytes` and more; None shares nothing."""
        self._at_least_bytes = at_least_bytes
        self._lock = threading.RLock()  # a value that is collected meanwhile runs `forget`
        # Guarded by self._lock: the ref of a value by its id, while the value lives.
        self._stored: dict[int, tuple[weakref.ref[Any], ObjectRef[Any]]] = {}

    def clear(self) -> None:
        """Let all stored values go."""
        with self._lock:
            self._stored.clear()

    def replaced(self, calls: Calls, refs: list[ObjectRef[Any]]) -> Calls:
        """Return calls with a `Place` for each large argument.

        `refs` gets the refs for which they stand; a value is there once.
        """
        if self._at_least_bytes is None or not _may_be_large(calls):
            return calls
        instead = self._instead_of
        return [
            (
                function,
                tuple([instead(value, refs) for value in args]),
                {name: instead(value, refs) for name, value in kwargs.items()},
            )
            for function, args, kwargs in calls
        ]

    def _instead_of(self, value: Any, refs: list[ObjectRef[Any]]) -> Any:
        size = size_of(value)
        if size == 0 or self._at_least_bytes is None or size < self._at_least_bytes:
            return value
        ref = self._ref_of(value)
        if ref is None:
            return value
        if ref not in refs:
            refs.append(ref)
        return Place(refs.index(ref))

    def _ref_of(self, value: Any) -> ObjectRef[Any] | None:
        """Return the ref of a value; None for one whose life cannot be followed."""
        key = id(value)
        with self._lock:
            found = self._stored.get(key)
            if found is not None and found[0]() is value:
                return found[1]
            try:
                living = weakref.ref(value, lambda _: self._forget(key, living))
            except TypeError:
                return None
            ref = put(value)
            self._stored[key] = living, ref
            return ref

    def _forget(self, key: int, living: weakref.ref[Any]) -> None:
        with self._lock:
            found = self._stored.get(key)
            if found is not None and found[0] is living:
                del self._stored[key]


def size_of(value: object) -> int:
    """Return how many bytes of data an array, a table or a sparse matrix holds; 0 if unknown."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return 0
    try:
        size = getattr(value, "nbytes", None)  # numpy, a pandas Series, pyarrow
        if size is None and hasattr(kind, "memory_usage"):  # a pandas DataFrame
            size = value.memory_usage(index=False).sum()  # type: ignore[attr-defined]
        if size is None and hasattr(kind, "tocsr"):  # scipy's sparse matrices
            size = getattr(getattr(value, "data", None), "nbytes", None)
        return int(size) if size is not None else 0
    except Exception:  # code of a stranger's class; its value just travels as it is
        return 0


def _may_be_large(calls: Calls) -> bool:
    """Look at the types of all arguments, without a step of Python's for each call of many."""
    kinds = set(map(type, chain.from_iterable(map(_ARGS, calls))))
    kinds.update(map(type, chain.from_iterable(map(dict.values, map(_KWARGS, calls)))))
    return not _PLAIN.issuperset(kinds)


def put_back(calls: Calls, values: tuple[Any, ...]) -> Calls:
    """Return calls as they were before `replaced`; `values` are those of its refs."""
    if not values:
        return calls

    def original(value: Any) -> Any:
        return values[value.number] if type(value) is Place else value

    return [
        (
            function,
            tuple([original(value) for value in args]),
            {name: original(value) for name, value in kwargs.items()},
        )
        for function, args, kwargs in calls
    ]
