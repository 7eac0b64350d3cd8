"""What a handle knows about the class of its instance."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Final

from flame_remote._options import MethodOptions
from flame_remote._signature import CallSignature

# What `flame.Actor` adds to a class; these are no methods of the instance.
_NAMES_OF_HANDLES: Final = frozenset({"remote", "options"})


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """What a handle needs to know about a method; plain data, so that handles pickle fast."""

    doc: str | None
    signature: CallSignature | None
    options: MethodOptions | None = None  # what `@flame.method(...)` says
    makes_items: bool = False  # it is a generator


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """What a handle needs to know about its class."""

    name: str
    doc: str | None
    methods: dict[str, MethodFacts]
    has_async_methods: bool

    @classmethod
    def of(cls, actor: type) -> ActorFacts:
        """Look at every method that an instance of `actor` has, but for special ones."""
        methods: dict[str, MethodFacts] = {}
        has_async = False
        for name in dir(actor):
            is_special = name.startswith("__") and name.endswith("__")
            if is_special or name in _NAMES_OF_HANDLES or name.startswith("_flame_"):
                continue
            raw = inspect.getattr_static(actor, name)
            value = getattr(actor, name, None)
            if not callable(value) or isinstance(raw, (property, type)):
                continue
            bound = not isinstance(raw, (staticmethod, classmethod))
            is_async_generator = inspect.isasyncgenfunction(value)
            methods[name] = MethodFacts(
                inspect.getdoc(value),
                CallSignature.of(value, bound=bound),
                getattr(value, "_flame_method_options", None),
                is_async_generator or inspect.isgeneratorfunction(value),
            )
            has_async = has_async or is_async_generator or inspect.iscoroutinefunction(value)
        return cls(actor.__name__, actor.__doc__, methods, has_async)
