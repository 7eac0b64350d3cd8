"""Modules under flamepy's names, for instances on machines where flamepy is not installed.

Flame's clients pickle requests, contexts and refs by these names. The classes here have the
attributes that those pickles bring; what they mean is decided in `worker`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from flame_remote.core import object_ref

_CACHE: Final = "flamepy.core.cache"
_TYPES: Final = "flamepy.runner.types"


class RunnerContext:
    """What a session runs: `execution_object`, and how: `stateful`, `autoscale`, `warmup`."""

    __module__ = _TYPES
    execution_object: Any
    stateful: bool = False


class RunnerRequest:
    """One call: `method` or None for the object itself, `args`, `kwargs`."""

    __module__ = _TYPES
    method: str | None = None
    args: tuple[Any, ...] | None = None
    kwargs: dict[str, Any] | None = None


class SessionContext:
    """What users attach to their objects to choose a session's id."""

    __module__ = _TYPES
    session_id: str | None = None
    application_name: str | None = None

    def __init__(self, session_id: str | None = None, application_name: str | None = None) -> None:
        self.session_id = session_id
        self.application_name = application_name


class ObjectRef:
    """The address of an object: `endpoint`, `key`, `version`."""

    __module__ = _CACHE

    def __init__(self, endpoint: str, key: str, version: int = 0) -> None:
        self.endpoint = endpoint
        self.key = key
        self.version = version

    def __repr__(self) -> str:
        return f"ObjectRef({self.endpoint!r}, {self.key!r}, {self.version!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.endpoint, self.key, self.version))

    def encode(self) -> bytes:
        """Return its bytes."""
        return to_core(self).encode()

    @classmethod
    def decode(cls, data: bytes) -> ObjectRef:
        """Return the ref with these bytes. Raises ClusterError."""
        return from_core(object_ref.ObjectRef.decode(data))


def to_core(ref: ObjectRef) -> object_ref.ObjectRef:
    """Return the ref as one of ours."""
    return object_ref.ObjectRef(ref.endpoint, ref.key, ref.version)


def from_core(ref: object_ref.ObjectRef) -> ObjectRef:
    """Return one of our refs under flamepy's name."""
    return ObjectRef(ref.endpoint, ref.key, ref.version)


def get_object(ref: Any, deserializer: Callable[[Any, list[Any]], Any] | None = None) -> Any:
    """Return the object that a ref names; what is no ref is returned as it is."""
    from flame_remote.core import objects

    return objects.get_object(to_core(ref) if isinstance(ref, ObjectRef) else ref, deserializer)


def put_object(key_prefix: str, obj: Any) -> ObjectRef:
    """Store an object under "<application>/<session>"."""
    from flame_remote.core import objects

    return from_core(objects.put_object(key_prefix, obj))


def update_object(ref: ObjectRef, new_obj: Any) -> ObjectRef:
    """Replace an object."""
    from flame_remote.core import objects

    return from_core(objects.update_object(to_core(ref), new_obj))


def patch_object(ref: ObjectRef, delta: Any) -> ObjectRef:
    """Append a change to an object."""
    from flame_remote.core import objects

    return from_core(objects.patch_object(to_core(ref), delta))


_FUNCTIONS: Final = (get_object, put_object, update_object, patch_object)
_MODULES: Final[dict[str, tuple[Any, ...]]] = {
    "flamepy": (ObjectRef, *_FUNCTIONS),
    "flamepy.core": (ObjectRef, *_FUNCTIONS),
    _CACHE: (ObjectRef, *_FUNCTIONS),
    "flamepy.runner": (RunnerContext, RunnerRequest, SessionContext),
    _TYPES: (RunnerContext, RunnerRequest, SessionContext),
}


# Where the names come from that are not in the table.
_REST: Final = {
    "flamepy": "flame_remote.core",
    "flamepy.core": "flame_remote.core",
    "flamepy.runner": "flame_remote.runner",
}


def install() -> None:
    """Provide the modules, unless flamepy is there. Changes sys.modules of this process."""
    if importlib.util.find_spec("flamepy") is not None:
        return
    for name, members in _MODULES.items():
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module = importlib.util.module_from_spec(spec)
        module.__doc__ = "Stands for flamepy, which is not installed here."
        for member in members:
            setattr(module, member.__name__, member)
        if name in _REST:
            setattr(module, "__getattr__", _looking_in(_REST[name], name))  # noqa: B010
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def _looking_in(ours: str, theirs: str) -> Callable[[str], Any]:
    """Return a module's __getattr__ that takes what it lacks from a module of ours."""

    def look(name: str) -> Any:
        if not name.startswith("_"):
            with suppress(AttributeError):
                return getattr(importlib.import_module(ours), name)
        raise AttributeError(
            f"module {theirs!r} has no {name!r} here: flamepy is not installed for the instances "
            f"of this cluster, and {ours}, which stands for it, has none either"
        )

    return look
