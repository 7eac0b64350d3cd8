"""The pickles that make a stock Flame worker run our holder.

The worker's own classes are named without being imported here: in the pickle stands a call of
`pkgutil.resolve_name`, which the worker's unpickler makes. The state of an instance is set without
its constructor, so every field has to be there.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_CONTEXT: Final = "flamepy.runner.types:RunnerContext"
_REQUEST: Final = "flamepy.runner.types:RunnerRequest"

_SOURCE: Final = Path(__file__).with_name("holder.py")
# Runs the text and calls its class, as one expression: what a pickle can ask for.
_START: Final = (
    "exec(compile(source, '<flame_remote holder>', 'exec'), space) or space['Holder'](facts)"
)


class _Named:
    """Pickles as the object that the worker finds under a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        import pkgutil

        return pkgutil.resolve_name, (self._name,)


class _Instance:
    """Pickles as an instance of a class of the worker's, in the given state."""

    def __init__(self, name: str, state: Mapping[str, Any]) -> None:
        self._name = name
        self._state = dict(state)

    def __reduce__(self) -> tuple[Any, ...]:
        return object.__new__, (_Named(self._name),), self._state


class _Holder:
    """Pickles as a new holder, made from its own text: no bytecode, so that any Python can load
    it and say that it is the wrong one.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = dict(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        names = {"source": _SOURCE.read_text(), "space": {"__name__": "_flame_remote_holder"}}
        return eval, (_START, {**names, "facts": self._facts})


def context_pickle(facts: Mapping[str, Any]) -> bytes:
    """Return the context of a session: what the worker executes. `facts` are for the holder.

    The worker looks at nothing but `stateful`; how many instances there are stands in the session.
    """
    state = {
        "execution_object": _Holder(facts),
        "stateful": False,
        "autoscale": False,
        "warmup": 0,
        "min_instances": 0,
        "max_instances": None,
    }
    return pickle.dumps(_Instance(_CONTEXT, state), 4)


def request_pickle(batch: bytes) -> bytes:
    """Return the input of a task: a call of the holder with a batch."""
    state = {"method": "run", "args": ((batch,),), "kwargs": None}
    return pickle.dumps(_Instance(_REQUEST, state), 4)
