"""What the user handed over, and how it becomes bytes that a worker can load.

A function or class of an importable module travels by name; anything else by value. The attribute
of the module is then no longer the function but what the decorator made of it, so a plain pickle
of the function would find another object under its name and give up, and cloudpickle would take
the function by value with all globals it uses. A name here therefore says whether the worker has
to take the wrapping off again.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature
from flame_remote._wire import own_modules
from flame_remote._wire.packing import pack

_UNWRAPPED: Final = "__wrapped__"  # where the decorator keeps what it was given


class Source:
    """A function or class as the user wrote it. Compared by identity; shared by its variants.

    `signature` is None where it cannot be known. Constant after construction.
    """

    __slots__ = ("__weakref__", "name", "signature", "value")

    def __init__(
        self, value: Callable[..., Any], name: str, signature: CallSignature | None
    ) -> None:
        self.value = value
        self.name = name
        self.signature = signature

    @classmethod
    def of(cls, value: Callable[..., Any]) -> Source:
        """Look at a function or class."""
        return cls(value, name_of(value), CallSignature.of(value))


def name_of(value: Callable[..., Any]) -> str:
    """Return the name of a function or class for messages; the type's, where it has none itself."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else type(value).__name__


# --- by name --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ByName:
    """Stands for an object in a pickle, and becomes that object when it is loaded.

    `wrapped` says that the name leads to what the decorator made of the object. `file` is where
    the module lies in this process, for the error if it is not found elsewhere.
    """

    module: str
    qualname: str
    wrapped: bool
    file: str

    def __reduce__(self) -> tuple[Any, ...]:
        return load_by_name, (self.module, self.qualname, self.wrapped, self.file)


def by_name(value: object) -> ByName | None:
    """Return the name that leads to `value`, or to what wraps it; None if no import leads there."""
    module_name = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    # `__main__` is another module in the worker.
    if not isinstance(module_name, str) or module_name in ("__main__", "__mp_main__"):
        return None
    if own_modules.travels_by_value(module_name):
        return None
    module = sys.modules.get(module_name)
    if module is None or getattr(module, "__spec__", None) is None:
        return None  # made by hand: no import finds it
    if not isinstance(qualname, str) or "<" in qualname:  # <locals>, <lambda>
        return None
    found: Any = module
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except AttributeError:
        return None
    file = getattr(module, "__file__", None) or ""
    if found is value:
        return ByName(module_name, qualname, False, file)
    if vars(found).get(_UNWRAPPED) is value if hasattr(found, "__dict__") else False:
        return ByName(module_name, qualname, True, file)
    return None


def load_by_name(module_name: str, qualname: str, wrapped: bool, file: str) -> Any:
    """Import what `by_name` named.

    Raises:
        ModuleNotFoundError: the module is not there; says where it was.
        AttributeError: the module is another one.
    """
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module was found; it imports something that is not there
        raise ModuleNotFoundError(
            f"cannot import {module_name!r}, where {qualname} is defined"
            + (f" (from {file} in the process that made the call)" if file else ""),
            name=module_name,
        ) from error
    for part in qualname.split("."):
        found = getattr(found, part)
    return vars(found)[_UNWRAPPED] if wrapped else found


# --- as code --------------------------------------------------------------------------------------

# The code of what this process has itself loaded, so that a worker that calls a function again
# sends the same code, and the same id, and pickles nothing. Keys are functions and classes.
_code_of: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()


def export(value: Callable[..., Any]) -> tuple[bytes, Sequence[ObjectRef[Any]]]:
    """Return the pickle of a function or class, and the refs that it closes over.

    Raises:
        SerializationError: it uses something that cannot travel; says what and where.
    """
    name = by_name(value)
    if name is not None:
        return pickle.dumps(name, 5), ()
    if _is_code(value) and (code := _code_of.get(value)) is not None:
        return code, ()
    what = "class" if isinstance(value, type) else "function"
    return _export_by_value(value, f"the {what} {name_of(value)}", reusable=True)


def export_maker(value: Any, what: str, *, is_code: bool) -> tuple[bytes, Sequence[ObjectRef[Any]]]:
    """Return the pickle of a function that makes a fresh copy of `value`, and the refs inside.

    `what` names the value in an error. `is_code` says that it is a function or class.

    Raises:
        SerializationError: it holds something that cannot travel; says what and where.
    """
    code, refs = export(value) if is_code else _export_by_value(value, what, reusable=False)
    return pickle.dumps(partial(pickle.loads, code), 5), refs


def _export_by_value(
    value: Any, what: str, *, reusable: bool
) -> tuple[bytes, Sequence[ObjectRef[Any]]]:
    packed = pack(value, lambda: what)
    # Code is one string of bytes: large arrays that it closes over go inside. As bytearrays, which
    # load as writable memory of their own.
    buffers = [bytearray(buffer.raw()) for buffer in packed.buffers]
    by_value = _ByValue(packed.data, buffers, reusable and not packed.refs)
    return pickle.dumps(by_value, 5), packed.refs


@dataclass(frozen=True, slots=True)
class _ByValue:
    """Stands for a function or class in a pickle; its code may be sent on if `reusable`."""

    data: bytes
    buffers: list[bytearray]
    reusable: bool

    def __reduce__(self) -> tuple[Any, ...]:
        return load_by_value, (self.data, self.buffers, self.reusable)


def load_by_value(data: bytes, buffers: list[bytearray], reusable: bool) -> Any:
    """Rebuild what `export` took by value."""
    # Buffers are handed out and may change: too large to send on unpickled anyway.
    reusable = reusable and not buffers
    code = pickle.dumps(_ByValue(data, [], True), 5) if reusable else b""
    value = pickle.loads(data, buffers=buffers)
    if reusable and _is_code(value):
        _code_of[value] = code
    return value


def _is_code(value: object) -> bool:
    return type(value) is types.FunctionType or isinstance(value, type)
