"""What tells one call from another for good: the code that runs, and the content of the arguments.

The code is that of the function and of the functions that it names or closes over, as far as they
are the user's own; the values of global variables that it names; its defaults; the version of
Python. Beyond that it cannot be told what a function depends on: not what it reaches through a
module (`helpers.scale(x)` counts as the module's name), as a method, or in a file. A library counts
as its version.
"""

from __future__ import annotations

import inspect
import io
import pickle
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from flame_remote._refs import ObjectRef

_MANY: Final = 1_000_000  # objects in one value
_LIBRARIES: Final = ("site-packages", "dist-packages")


class NotYet(Exception):
    """An argument is a ref to what is not there yet."""


class Uncountable(Exception):
    """A value whose content cannot be told."""


def group_of(function: Callable[..., Any]) -> str:
    """Return a name for all results of a function, whatever its code is: fit for a folder."""
    module, name = function.__module__, function.__qualname__
    if module == "__main__":
        module = getattr(sys.modules.get("__main__"), "__file__", None) or module
    digest = _digest(f"{module}\0{name}".encode()).hexdigest()[:16]
    readable = "".join(c for c in function.__name__ if c.isalnum() or c == "_")[:40]
    return f"{readable}-{digest}"


def key_of(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    ignore: tuple[str, ...],
    *,
    waits: bool,
) -> str:
    """Return the key of a call. A ref counts as its value, which is fetched for that.

    Calls that mean the same have the same key: by position or by keyword, with a default given or
    left out. Raises NotYet if a value is not there and `waits` is not given, Uncountable if the
    content of an argument cannot be told; a task's error if a ref is to one that failed.
    """
    given: list[tuple[str, Any]]
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = [(name, value) for name, value in bound.arguments.items() if name not in ignore]
    except (TypeError, ValueError):  # a function without a signature
        given = [
            *((str(place), value) for place, value in enumerate(args)),
            *sorted(kwargs.items()),
        ]
    content = _Content(waits)
    digest = _digest(f"{sys.implementation.cache_tag}".encode())
    digest.update(content.of_function(function))
    for name, value in given:
        digest.update(name.encode() + b"\0")
        digest.update(content.of(value))
    return str(digest.hexdigest())


def _digest(data: Any = b"") -> Any:
    import hashlib

    return hashlib.blake2b(data, digest_size=20)


class _Content:
    """Digests of values and of code."""

    def __init__(self, waits: bool) -> None:
        self._waits = waits
        self._under_way: set[int] = set()  # functions and classes that name each other

    def of(self, value: Any) -> bytes:
        """Return the digest of a value. Raises NotYet, Uncountable."""
        if type(value) is ObjectRef:
            return self.of_ref(value)
        for fast in (True, False):
            with suppress(_Cyclic):
                return self._pickled(value, fast)
        raise Uncountable(f"the content of a {type(value).__name__} cannot be told")

    def _pickled(self, value: Any, fast: bool) -> bytes:
        stream = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        pickler = _Pickler(self, stream, buffers.append)
        # Without a memo what is equal has equal bytes, whether its parts are shared or not.
        pickler.fast = fast
        try:
            pickler.dump(value)
        except (NotYet, Uncountable, _Cyclic):
            raise
        except ValueError as error:
            raise _Cyclic from error
        except Exception as error:
            if isinstance(error, RecursionError) and fast:
                raise _Cyclic from error
            text = f"the content of a {type(value).__name__} cannot be told: {error}"
            raise Uncountable(text) from error
        digest = _digest(stream.getbuffer())
        for buffer in buffers:
            digest.update(buffer.raw())
        return bytes(digest.digest())

    def of_ref(self, ref: ObjectRef[Any]) -> bytes:
        """Return the digest of what a ref stands for."""
        if not self._waits and not ref.done():
            raise NotYet
        return self.of(ref.get())

    def of_function(self, function: Any) -> bytes:
        """Return the digest of a function's code and of what it names."""
        function = inspect.unwrap(function)
        code = getattr(function, "__code__", None)
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        if code is None or not _is_own(getattr(function, "__module__", None)):
            return self._foreign(function, name)
        if id(code) in self._under_way:
            return name.encode()
        self._under_way.add(id(code))
        digest = _digest(name.rpartition(".")[2].encode())
        for part in self._parts_of(function, code):
            digest.update(part)
        self._under_way.discard(id(code))
        return bytes(digest.digest())

    def _parts_of(self, function: Any, code: types.CodeType) -> Iterator[bytes]:
        yield from _parts_of_code(code)
        yield self._of_named(function.__defaults__)
        yield self._of_named(function.__kwdefaults__)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            yield name.encode()
            with suppress(ValueError):  # empty so far
                yield self._of_named(cell.cell_contents)
        for name in sorted(_names_in(code)):
            if name in function.__globals__:
                yield name.encode()
                yield self._of_named(function.__globals__[name])

    def _of_named(self, value: Any) -> bytes:
        """Return the digest of what code names; of its type if its content cannot be told."""
        if isinstance(value, types.ModuleType):
            return f"{value.__name__} {getattr(value, '__version__', '')}".encode()
        try:
            return self.of(value)
        except Uncountable:
            return f"{type(value).__module__}.{type(value).__qualname__}".encode()

    def of_class(self, cls: type) -> bytes:
        """Return the digest of a class and of its methods."""
        name = f"{cls.__module__}.{cls.__qualname__}"
        if not _is_own(cls.__module__):
            return self._foreign(cls, name)
        if id(cls) in self._under_way:
            return name.encode()
        self._under_way.add(id(cls))
        digest = _digest(cls.__qualname__.encode())
        for base in cls.__bases__:
            digest.update(self.of_class(base))
        for attribute, value in sorted(vars(cls).items()):
            value = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(value, types.FunctionType):
                digest.update(attribute.encode() + self.of_function(value))
        self._under_way.discard(id(cls))
        return bytes(digest.digest())

    def _foreign(self, value: Any, name: str) -> bytes:
        package = str(getattr(value, "__module__", "")).partition(".")[0]
        version = getattr(sys.modules.get(package), "__version__", "")
        return f"{name} {version}".encode()


class _Cyclic(Exception):
    """A value that contains itself, or so often the same that it is too large without a memo."""


class _Pickler(pickle.Pickler):
    """Writes values so that equal ones have equal bytes. What it writes cannot be read."""

    def __init__(self, content: _Content, stream: io.BytesIO, take: Callable[[Any], Any]) -> None:
        super().__init__(stream, 5, buffer_callback=take)
        self._content = content
        self._number = 0

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)
        self._number += 1
        if self._number > _MANY and self.fast:
            raise _Cyclic
        if kind is types.FunctionType:
            return "function", self._content.of_function(obj)
        if kind is ObjectRef:
            return "value", self._content.of_ref(obj)
        if kind is set or kind is frozenset:  # in no order
            return kind.__name__, sorted(self._content.of(item) for item in obj)
        if isinstance(obj, type):
            return "class", self._content.of_class(obj)
        if hasattr(kind, "_flame_instead_of_ref") and hasattr(obj, "__wrapped__"):
            wrapped = obj.__wrapped__  # what the decorator made of a function or a class
            is_class = isinstance(wrapped, type)
            digest = self._content.of_class if is_class else self._content.of_function
            return "remote", digest(wrapped)
        return None


def _parts_of_code(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_flags, code.co_argcount)).encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _parts_of_code(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant))).encode()
        else:
            yield repr(constant).encode()


def _names_in(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names


def _is_own(module_name: str | None) -> bool:
    """Say whether a module is the user's own: of no library, and none of Python's."""
    if module_name in ("__main__", "__mp_main__"):
        return True
    module = sys.modules.get(module_name or "")
    if module is None:  # a function that came by value, from a module that is not known here
        return True
    file = getattr(module, "__file__", None)
    if file is None or (module_name or "").partition(".")[0] == "flame_remote":
        return False
    if any(f"/{folder}/" in file for folder in _LIBRARIES):
        return False
    return not file.startswith(sysconfig.get_path("stdlib"))
