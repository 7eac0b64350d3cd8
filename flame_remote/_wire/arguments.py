"""A call's arguments as a payload, and back.

Refs at top level are taken out and become dependencies: their values are put back in their
places where the call runs. Refs inside containers travel as refs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flame_remote._refs import ObjectRef

from .packing import ATOMS, NUMBERS, Packed, is_atom, pack, unpack

Place = int | str  # position or keyword; ALL for a value that is `(args, kwargs)` itself
ALL: Final = "*"


@dataclass(slots=True)
class Arguments:
    """A call's arguments, ready for a TaskSpec.

    `payload` is as in TaskSpec, or a Packed that is too large for a message: whoever submits puts
    it and adds `(ALL, its id)` to the dependencies. `refs` keeps everything named by
    `dependencies` and `nested` alive until the engine has counted it.
    """

    payload: tuple[Any, ...] | bytes | Packed
    dependencies: tuple[tuple[Place, ObjectRef[Any]], ...] = ()
    nested: tuple[ObjectRef[Any], ...] = ()


def are_numbers(args: tuple[Any, ...]) -> bool:
    """Say whether the arguments can travel as they are, the fastest way; see benchmarks."""
    return NUMBERS.issuperset(map(type, args))


def pack_arguments(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    name: str,
    parameters: Sequence[str] = (),
) -> Arguments:
    """Pack the arguments of a call of `name`. The values may change as soon as this returns,
    unless the payload is a Packed with buffers: then as soon as it is stored.

    Raises SerializationError that names the argument: by its place, and by the name that
    `parameters` has for that place.
    """
    dependencies: list[tuple[Place, ObjectRef[Any]]] = []
    if not ATOMS.issuperset(map(type, args)) or kwargs:
        args, kwargs = _take_refs_out(args, kwargs, dependencies)
    if not kwargs and all(map(is_atom, args)):
        return Arguments(args, tuple(dependencies))
    try:
        packed = pack((args, kwargs), lambda: f"the arguments of {name}()")
    except Exception:
        _pack_one_by_one(args, kwargs, name, parameters)  # raises an error that names the culprit
        raise
    payload = packed.data if packed.rides_inline else packed
    return Arguments(payload, tuple(dependencies), tuple(packed.refs))


def unpack_arguments(
    payload: tuple[Any, ...] | bytes | memoryview | None,
    dependencies: Iterable[tuple[Place, Any]],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return `(args, kwargs)` with the values of the dependencies in their places."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    if isinstance(payload, tuple):
        args = list(payload)
    elif payload is not None:
        loaded_args, kwargs = unpack(payload)
        args = list(loaded_args)
    # Sorted so that ALL comes before the places that it makes room for.
    for place, value in sorted(dependencies, key=lambda pair: pair[0] != ALL):
        if place == ALL:
            args, kwargs = list(value[0]), dict(value[1])
        elif isinstance(place, int):
            args[place] = value
        else:
            kwargs[place] = value
    return tuple(args), kwargs


def _take_refs_out(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dependencies: list[tuple[Place, ObjectRef[Any]]],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace refs at top level by None and note their places."""
    proxies = sys.modules.get("flame_remote._proxy")
    plain_args, plain_kwargs = list(args), dict(kwargs)
    everything: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
    for place, value in everything:
        # type(), not isinstance(): asking a lazy proxy for its class would fetch its value.
        if type(value) is not ObjectRef and proxies is not None:
            value = proxies.ref_behind(value)
        if type(value) is ObjectRef:
            dependencies.append((place, value))
            if isinstance(place, int):
                plain_args[place] = None
            else:
                plain_kwargs[place] = None
    return tuple(plain_args), plain_kwargs


def _pack_one_by_one(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str, parameters: Sequence[str]
) -> None:
    for position, value in enumerate(args):
        parameter = f" ({parameters[position]!r})" if position < len(parameters) else ""
        what = f"argument {position + 1}{parameter} of {name}()"
        pack(value, lambda what=what: what)  # type: ignore[misc]
    for keyword, value in kwargs.items():
        what = f"argument {keyword!r} of {name}()"
        pack(value, lambda what=what: what)  # type: ignore[misc]
