"""In the worker: an instance whose state is saved after each call, so that it outlives its worker.

Each call of the user's is two calls of the host, in order: the first runs the method and returns
the instance's state, the second returns, or raises, what the method did. A worker sends the result
of one call before it starts the next, so a state is safe before anybody sees the result that
belongs to it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.coroutines import run_coroutine
from flame_remote._refs import ObjectRef
from flame_remote._wire.packing import pack, unpack
from flame_remote.exceptions import SerializationError

# By keyword, so that the places of the user's own arguments stay as errors name them.
CALL: Final = "_flame_call"
OUTCOME: Final = "_flame_outcome"
STATE: Final = "_flame_state"

# Outcomes of calls whose second half was cancelled are never taken; each is dropped after so many.
_OUTCOMES_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class SavedState:
    """An instance as bytes: not rebuilt, nor is its code run, where it only passes through."""

    data: bytes
    buffers: tuple[Any, ...]
    refs: tuple[ObjectRef[Any], ...]  # counted while the state is kept

    @classmethod
    def of(cls, instance: object, what: str) -> SavedState:
        """Pack an instance.

        Raises:
            SerializationError: it holds something that cannot travel.
        """
        packed = pack(instance, lambda: what)
        return cls(packed.data, tuple(packed.buffers), tuple(packed.refs))


class StatefulHost:
    """Holds one instance. Its calls come one at a time."""

    def __init__(
        self, code: bytes, name: str, saved: SavedState | None, unsure: Sequence[ObjectRef[Any]]
    ) -> None:
        """Make the instance from `code`, or go on where an earlier one was lost.

        `saved` is a state of the earlier one; `unsure` refers to younger ones, the youngest last,
        of which some may never have been saved.
        """
        self._name = name
        self._outcomes: dict[int, tuple[bool, Any]] = {}
        newest = _youngest(unsure) or saved
        if newest is None:
            self._instance = pickle.loads(code)()
        else:
            self._instance = unpack(newest.data, newest.buffers)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_") and method != "__call__":
            raise AttributeError(method)  # an ordinary answer to who probes for hooks
        return partial(self._serve, method)

    def _serve(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        if OUTCOME in kwargs:
            succeeded, value = self._outcomes.pop(kwargs[OUTCOME])
            if not succeeded:
                raise value
            return value
        return self._run(kwargs.pop(CALL), method, args, kwargs)

    def _run(
        self, number: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> SavedState:
        self._outcomes.pop(number - _OUTCOMES_KEPT, None)
        succeeded, value = execute(getattr(self._instance, method), args, kwargs)
        if succeeded and is_coroutine(value):
            succeeded, value = run_coroutine(value)
        if not succeeded and not isinstance(value, Exception):
            raise value  # KeyboardInterrupt, SystemExit: the engine knows what they mean
        try:
            state = SavedState.of(self._instance, f"the state of {self._name} after {method}()")
        except SerializationError as error:
            raise SerializationError(
                f"{error}; a service with stateful=True saves its instance after each call: leave "
                "the part out in __getstate__, or use stateful=False"
            ) from error.__cause__
        self._outcomes[number] = succeeded, value
        return state


def _youngest(states: Sequence[ObjectRef[SavedState]]) -> SavedState | None:
    """Return the youngest state that was saved; None if none was."""
    for ref in reversed(states):
        with suppress(Exception):  # the call failed, or was lost, before it had saved anything
            return ref.get()
    return None
