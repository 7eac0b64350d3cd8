"""What a service serves: a function, a class or an instance, and the methods that can be called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flame_remote._actor_facts import ActorFacts, MethodFacts
from flame_remote._signature import CallSignature

from .source import name_of


class SubjectKind(Enum):
    """What the user handed over."""

    FUNCTION = "function"  # anything that can be called, but for a class
    CLASS = "class"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a service serves. `methods` are its public methods; those of a function are none."""

    kind: SubjectKind
    value: Any
    name: str
    methods: Mapping[str, MethodFacts]
    signature: CallSignature | None = None  # of a function

    @classmethod
    def of(cls, value: Any, *, stateful: bool | None = None) -> Subject:
        """Look at what the user handed over.

        Something with `__call__` is a function, unless it is to be `stateful`.

        Raises:
            TypeError: it is something remote already.
        """
        value = _unwrapped(value)
        if isinstance(value, type):
            return cls(SubjectKind.CLASS, value, name_of(value), _public_methods(value))
        if inspect.isroutine(value) or (callable(value) and not stateful):
            signature = CallSignature.of(value)
            return cls(SubjectKind.FUNCTION, value, name_of(value), {}, signature)
        methods = _public_methods(type(value))
        for name, attribute in getattr(value, "__dict__", {}).items():
            if not name.startswith("_") and callable(attribute):
                methods[name] = MethodFacts(None, CallSignature.of(attribute))
        if callable(value):
            methods["__call__"] = MethodFacts(None, CallSignature.of(value))
        return cls(SubjectKind.INSTANCE, value, type(value).__name__, methods)

    @property
    def article(self) -> str:
        """What to call it in a sentence: "function area", "a Counter instance"."""
        if self.kind is SubjectKind.INSTANCE:
            return f"the {self.name} instance"
        return f"the {self.kind.value} {self.name}"


def _public_methods(cls: type) -> dict[str, MethodFacts]:
    methods = ActorFacts.of(cls).methods
    return {name: facts for name, facts in methods.items() if not name.startswith("_")}


def _unwrapped(value: Any) -> Any:
    """Return what `@flame.remote` was put on; refuse what is remote and has no inside here."""
    if getattr(type(value), "_flame_instead_of_ref", None) is None:
        return value
    wrapped = vars(value).get("__wrapped__")
    if wrapped is None:
        raise TypeError(
            f"service() takes a function, a class or an instance, not {value!r}, which is remote "
            "already"
        )
    return wrapped
