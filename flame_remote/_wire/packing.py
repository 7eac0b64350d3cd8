"""Values to bytes and back: plain pickle where it serves, cloudpickle where it must.

Pickle protocol 5 with out-of-band buffers (PEP 574): a large buffer is not copied into the
pickle, it stands beside it. Refs inside the value are collected while it is pickled.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flame_remote._refs import ObjectRef, collecting_refs
from flame_remote.exceptions import SerializationError

from . import own_modules

# A value up to this size rides in messages; a larger one goes to shared memory. Copying 100 KiB
# five times through the stream costs about what one mapping costs (benchmarks/store.py).
INLINE_LIMIT_BYTES: Final = 100 * 1024
# A buffer below this is copied into the pickle: a buffer of its own costs more than the copy.
_OUT_OF_BAND_BYTES: Final = 16 * 1024
_LONG_ATOM: Final = 1024

NUMBERS: Final = frozenset({int, float, bool, complex, type(None)})
ATOMS: Final = NUMBERS | {str, bytes}


@dataclass(slots=True)
class Packed:
    """A value as bytes: the pickle, the buffers beside it, and the refs found inside.

    `buffers` are views of the value's own memory: copy them before the value changes. `refs` keep
    what they refer to alive until whoever stores the value has counted them.
    """

    data: bytes
    buffers: Sequence[pickle.PickleBuffer]
    refs: Sequence[ObjectRef[Any]]

    @property
    def size(self) -> int:
        """Bytes in all, buffers included."""
        return len(self.data) + sum(buffer.raw().nbytes for buffer in self.buffers)

    @property
    def rides_inline(self) -> bool:
        """Whether the value is small enough to travel inside a message."""
        return not self.buffers and len(self.data) <= INLINE_LIMIT_BYTES


# What rebuilds values once anybody has asked for read-only arrays; see read_only.py.
special_unpack: Callable[[bytes | memoryview, Sequence[Any]], Any] | None = None


def is_atom(value: object) -> bool:
    """Say whether the value is immutable, small, and safe to put into a message as it is."""
    kind = type(value)
    return kind in NUMBERS or (kind in ATOMS and len(value) <= _LONG_ATOM)  # type: ignore[arg-type]


def pack(value: object, describe: Callable[[], str]) -> Packed:
    """Turn any value into bytes.

    Functions and classes of importable modules travel by name, those of `__main__` and local ones
    by value. `describe` names the value for the error ("argument 1 ('lock') of square()").

    Raises SerializationError, with the path to the part that cannot travel.
    """
    buffers: list[pickle.PickleBuffer] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        """Keep a large buffer out of the pickle; a true answer leaves it inside."""
        try:
            small = buffer.raw().nbytes < _OUT_OF_BAND_BYTES
        except BufferError:  # not contiguous: pickle copies it
            return True
        if not small:
            buffers.append(buffer)
        return small

    with collecting_refs() as refs:
        try:
            if own_modules.by_value:
                data = _pack_by_name(value, take)
            else:
                data = pickle.dumps(value, 5, buffer_callback=take)
        except Exception:  # whatever a user's __reduce__ or __getstate__ raises
            data = b""
        if not data or b"__main__" in data:
            # Plain pickle would name `__main__`, which is another module in the worker.
            buffers.clear()
            refs.clear()
            data = _pack_by_value(value, take, describe)
    return Packed(data, buffers, refs)


def unpack(data: bytes | memoryview, buffers: Sequence[Any] = ()) -> Any:
    """Rebuild a value. Runs the value's own code; raises whatever that raises."""
    if special_unpack is not None:
        return special_unpack(data, buffers)
    return pickle.loads(data, buffers=buffers)


class _TravelsByValue(Exception):
    """There is code of the user's in the value, which the other side cannot import."""


class _ByNamePickler(pickle.Pickler):
    """Gives up at code that must be sent."""

    def reducer_override(self, obj: Any) -> Any:
        if own_modules.is_code_to_send(obj):
            raise _TravelsByValue
        return NotImplemented


def _pack_by_name(value: object, take: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    stream = io.BytesIO()
    _ByNamePickler(stream, 5, buffer_callback=take).dump(value)
    return stream.getvalue()


def _pack_by_value(
    value: object,
    take: Callable[[pickle.PickleBuffer], bool],
    describe: Callable[[], str],
) -> bytes:
    import cloudpickle  # costs tens of milliseconds: only for code that cannot be imported

    class OwnModulesPickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if own_modules.is_code_to_send(obj):
                own_modules.register(obj)
            return super().reducer_override(obj)

    stream = io.BytesIO()
    # The stubs of cloudpickle do not know `buffer_callback`.
    pickler: Any = OwnModulesPickler if own_modules.by_value else cloudpickle.Pickler
    try:
        pickler(stream, 5, buffer_callback=take).dump(value)
    except Exception as error:
        from .doctor import cause_worth_showing, diagnose

        text = f"{describe()} {diagnose(value, error)}"
        raise SerializationError(text) from cause_worth_showing(error)
    return stream.getvalue()
