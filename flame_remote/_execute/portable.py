"""An exception as bytes, and back, whatever its class makes of pickling.

By Python's rules an exception is rebuilt by calling its class with `args`. That fails, or worse
wraps the message twice, for every class whose `__init__` takes anything else. Here it travels as
class, `args`, attributes and the fields that C code keeps, and is rebuilt without `__init__`. A
class that says itself how it pickles is asked first.
"""

from __future__ import annotations

import io
import pickle
import sys
from contextlib import suppress
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from .frames import Frame, build_traceback, take_frames
from .task_error import user_attributes, user_class
from .text import shorten, type_name

# More than this is too much for an error: what is large in it is shortened or left out.
_LIMIT_BYTES: Final = 256 * 1024
_PART_LIMIT_BYTES: Final = 32 * 1024

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_PICKLING: Final = frozenset(
    {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs_ex__"}
)
# Fields of C code that do not travel: those that come with `args`, and the object that lacks an
# attribute, which may be anything and need not be fit to travel.
_LEFT_BEHIND: Final = frozenset({"args", "exceptions", "message", "obj"})

_args = BaseException.__dict__["args"]  # a class may hide `args` behind something of its own


def dump_exception(error: BaseException) -> tuple[bytes | None, str]:
    """Return bytes from which load_exception makes an equal exception; tried out here.

    Beside the bytes stands a remark about what had to be left out. The bytes are None if nothing
    of the exception can travel. An instance of `TaskError(ValueError)` travels as ValueError.
    """
    cls = user_class(error)
    if not _is_large(error):
        data = None
        if cls is type(error) and _has_own_rules(cls):
            data = _dump_checked(error, cls)
        data = data or _dump_checked(_State(error), cls)
        if data is not None:
            return data, ""
    state = _State(error)
    left_out = state.shed()
    data = _dump_checked(state, cls)
    if data is None or not left_out:
        return data, ""
    return data, f"(its {shorten(', '.join(left_out), 200)} could not be sent along)"


def load_exception(data: bytes) -> BaseException:
    """Rebuild an exception. Runs code of its class; raises whatever that raises."""
    error = pickle.loads(data)
    if not isinstance(error, BaseException):
        raise TypeError(f"an exception became a {type_name(type(error))} when it was unpickled")
    return error


def new_exception(
    cls: type[BaseException],
    args: tuple[Any, ...],
    attributes: dict[str, Any],
    fields: dict[str, Any],
    frames: tuple[tuple[Any, ...], ...] = (),
) -> BaseException:
    """Make an exception of class `cls` in the given state, without calling its `__init__`."""
    native = cls
    while native.__flags__ & _HEAP_TYPE and native.__base__ is not None:
        native = native.__base__
    error: BaseException = native.__new__(cls, *args)
    with suppress(Exception):
        native.__init__(error, *args)  # OSError, UnicodeError and the like read their args here
    _args.__set__(error, args)
    for name, value in fields.items():
        with suppress(Exception):  # read-only: it came with args
            object.__setattr__(error, name, value)  # the class may forbid it, as frozen ones do
    for name, value in attributes.items():
        if isinstance(getattr(cls, name, None), MemberDescriptorType):
            # Where it came from, the class had come by value, and so without its slots.
            object.__setattr__(error, name, value)
        else:
            error.__dict__[name] = value
    return error.with_traceback(build_traceback([Frame(*frame) for frame in frames]))


def state_of(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Return the args, attributes and C fields of an exception, as new_exception takes them."""
    return _args.__get__(error), user_attributes(error), _fields_of(error)


class _State:
    """The state of an exception; pickles as the call that rebuilds the exception."""

    def __init__(self, error: BaseException) -> None:
        self._cls = user_class(error)
        self._args, self._attributes, self._fields = state_of(error)

    def shed(self) -> list[str]:
        """Drop or shorten what cannot travel or is large; return the names of what was dropped."""
        self._args = tuple(_as_far_as_possible(value) for value in self._args)
        dropped = []
        for state in (self._attributes, self._fields):
            for name, value in list(state.items()):
                if isinstance(value, (str, bytes)):
                    state[name] = shorten(value, _PART_LIMIT_BYTES)
                elif not _can_travel(value):
                    del state[name]
                    dropped.append(name)
        return dropped

    def __reduce__(self) -> tuple[Any, ...]:
        return new_exception, (self._cls, self._args, self._attributes, self._fields)


def _fields_of(error: BaseException) -> dict[str, Any]:
    """Return what the exception keeps in `__slots__` and in fields of C code."""
    fields: dict[str, Any] = {}
    for cls in type(error).__mro__:
        for name, descriptor in vars(cls).items():
            if name.startswith("__") or name in _LEFT_BEHIND or name in fields:
                continue
            if isinstance(descriptor, (MemberDescriptorType, GetSetDescriptorType)):
                try:
                    value = descriptor.__get__(error)
                except Exception:  # never set
                    continue
                if value is not None:
                    fields[name] = value
    return fields


def _has_own_rules(cls: type[BaseException]) -> bool:
    return any(
        not _PICKLING.isdisjoint(vars(base)) for base in cls.__mro__ if base.__flags__ & _HEAP_TYPE
    )


def _reduce_exception(value: Any) -> Any:
    """Tell a pickler how to take apart an exception inside another value, as in a group."""
    if not isinstance(value, BaseException):
        return NotImplemented
    cls = user_class(value)
    if cls is type(value) and _has_own_rules(cls):
        return NotImplemented
    frames = tuple(tuple(frame) for frame in take_frames(value.__traceback__))
    return new_exception, (cls, *state_of(value), frames)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        return _reduce_exception(obj)


def _dump(value: object) -> bytes:
    """Pickle a value. What refs in it refer to is kept for good: nobody counts them here."""
    stream = io.BytesIO()
    try:
        _Pickler(stream, 5).dump(value)
    except Exception:
        pass
    else:
        data = stream.getvalue()
        if b"__main__" not in data:  # another module where the bytes arrive
            return data

    import cloudpickle  # costs tens of milliseconds: only for code that cannot be imported

    class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            reduced = _reduce_exception(obj)
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    stream = io.BytesIO()
    ByValuePickler(stream, 5).dump(value)
    return stream.getvalue()


def _dump_checked(value: object, cls: type[BaseException]) -> bytes | None:
    """Pickle; return the bytes if they are few and load as an exception of class `cls`."""
    try:
        data = _dump(value)
        if len(data) <= _LIMIT_BYTES and type(load_exception(data)) is cls:
            return data
    except Exception:  # whatever __reduce__ or __setstate__ of the user's class raises
        pass
    return None


def _can_travel(value: object) -> bool:
    try:
        if sys.getsizeof(value, 0) > _LIMIT_BYTES:
            return False
        data = _dump(value)
        pickle.loads(data)
    except Exception:
        return False
    return len(data) <= _PART_LIMIT_BYTES


def _as_far_as_possible(value: object) -> object:
    """Return the value if it is fit to travel, else a text that shows it."""
    if isinstance(value, (str, bytes)):
        return shorten(value, _PART_LIMIT_BYTES)
    if _can_travel(value):
        return value
    try:
        return shorten(repr(value), 1000)
    except Exception:
        return f"<{type_name(type(value))} object>"


def _is_large(error: BaseException) -> bool:
    """Say whether pickling all of it is not worth trying. Looks at texts only, one level deep."""
    values = [*_args.__get__(error), *error.__dict__.values()]
    return any(isinstance(value, (str, bytes)) and len(value) > _LIMIT_BYTES for value in values)
