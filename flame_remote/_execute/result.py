"""A task's value on its way back, and values that cannot make the way."""

from __future__ import annotations

from typing import Any

from flame_remote._outcome import Kind, Outcome
from flame_remote._wire.packing import Packed, is_atom, pack
from flame_remote.exceptions import DeserializationError, SerializationError

from .text import message_of, type_name


def pack_result(value: object, function_name: str, function: Any = None) -> Packed | Outcome:
    """Turn what `function` returned into bytes, or into an Outcome of kind ATOM if it needs none.

    Raises SerializationError, which is no fault of the engine: encode it with encode_error.
    """
    if is_atom(value):
        return Outcome(Kind.ATOM, value)

    def describe() -> str:
        return f"the value returned by {function_name}(){_place(function)} cannot be sent: it"

    try:
        return pack(value, describe)
    except (SystemExit, GeneratorExit) as error:  # of the value's own __reduce__
        raise SerializationError(f"{describe()} raised {type_name(type(error))}") from error


def cannot_rebuild(what: str, where: str, error: BaseException) -> DeserializationError:
    """Return the error for bytes of `what` that raised `error` in the "worker" or the "driver"."""
    message = message_of(error, 1000)
    reason = f"{type_name(type(error))}: {message}" if message else type_name(type(error))
    failure = DeserializationError(what, where, reason)
    failure.__cause__ = error
    return failure


def _place(function: Any) -> str:
    """Say where a function is written, as ` (file:line)`; nothing if that cannot be told."""
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
