"""A large argument that is passed to many calls is stored once, as long as it does not change.

What an argument was is remembered by the identity of the object, which proves nothing: the object
may have changed since, or be another one in the same place. So it is packed for each call, and its
bytes are compared with those that are stored; only if they are equal is nothing stored anew. That
costs about as much as storing them would, and saves the memory. Nothing is kept for this: a value
that no task takes any more goes, and the next call stores it again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from flame_remote._ids import ObjectId
from flame_remote._refs import ObjectRef
from flame_remote._wire.arguments import Place
from flame_remote._wire.packing import Packed, is_atom, pack
from flame_remote.engine import Engine

_REMEMBERED: Final = 64  # objects, so many are passed in turn
# An argument is packed a second time in order to see what is its own in what was packed together.
# Beyond this many bytes of pickle, apart from the arrays beside it, that would take too long.
_REPACK_BYTES: Final = 1 << 20
_BYTES: Final = (bytes, bytearray, str)  # these are packed as fast as they are copied


class RepeatedArguments:
    """What large arguments the calls of one engine have had. Safe to use from any thread."""

    def __init__(self) -> None:
        # By the identity of an argument: what it was stored as the last time. Single operations of
        # a dict are atomic; that is all that is relied on.
        self._stored: OrderedDict[int, ObjectId] = OrderedDict()

    def take_out(
        self, engine: Engine, args: tuple[Any, ...], kwargs: Mapping[str, Any], packed: Packed
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[ObjectRef[Any]]] | None:
        """Return the arguments with refs in the places of large ones, and these refs; None if none
        is to be taken out. `packed` is all of them together.

        Raises StoreFullError, SpillError, EngineClosedError.
        """
        if not engine.compares:
            return None
        everything: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
        whole = [
            (place, value)
            for place, value in everything
            if type(value) is not ObjectRef and not is_atom(value)
        ]
        if len(whole) > 1:
            # What two arguments share must stay shared where they arrive: only what holds nothing
            # else can be taken out of several, and only if it is not passed twice.
            times = Counter(id(value) for _, value in whole)
            whole = [(p, v) for p, v in whole if times[id(v)] == 1 and _holds_nothing_else(v)]
        if len(packed.data) > _REPACK_BYTES:
            whole = [(p, v) for p, v in whole if type(v) in _BYTES]
        new_args, new_kwargs, refs = list(args), dict(kwargs), []
        for place, value in whole:
            alone = pack(value, lambda: "an argument")
            if alone.rides_inline:
                continue
            ref = self._store(engine, value, alone)
            refs.append(ref)
            if isinstance(place, int):
                new_args[place] = ref
            else:
                new_kwargs[place] = ref
        return (tuple(new_args), new_kwargs, refs) if refs else None

    def _store(self, engine: Engine, value: Any, packed: Packed) -> ObjectRef[Any]:
        known = self._stored.get(id(value))
        ref = None if known is None else engine.find_same(packed, known)
        if ref is None:
            ref = engine.put(packed)
            self._stored[id(value)] = ref._id
            if len(self._stored) > _REMEMBERED:
                with suppress(KeyError):  # another thread has taken it
                    self._stored.popitem(last=False)
        return ref


def _holds_nothing_else(value: Any) -> bool:
    """Say whether a value is plain bytes: an array of numbers, or the like."""
    if type(value) in _BYTES:
        return True
    # An array of numpy is known by its name, so that numpy need not be there.
    kind = type(value)
    return (
        kind.__module__ == "numpy"
        and kind.__name__ == "ndarray"
        and not value.dtype.hasobject
        and value.base is None
    )
