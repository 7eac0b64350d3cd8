"""Runner: runs functions, classes and instances as services, and ends them together.

    from flame_remote.runner import Runner

    with Runner("app") as runner:
        total = runner.service(sum_fn)                      # a function: call it
        counter = runner.service(Counter(10), stateful=True)  # an instance: call its methods
        future = total(1, 2)                                # returns at once
        counter.add(future).get()                           # futures go on without being fetched

`ObjectFuture` is another name of ObjectRef, as `SessionContext` chooses a session's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame_remote._refs import ObjectRef as ObjectFuture

    from .handles import FunctionHandle, InstanceHandle, ServiceHandle, ServiceMethod
    from .package import PackageWarning
    from .policy import Policy
    from .runner import Runner
    from .session_context import SessionContext

__all__ = [
    "FunctionHandle",
    "InstanceHandle",
    "ObjectFuture",
    "PackageWarning",
    "Policy",
    "Runner",
    "ServiceHandle",
    "ServiceMethod",
    "SessionContext",
]

_MODULES = {
    "FunctionHandle": "handles",
    "InstanceHandle": "handles",
    "PackageWarning": "package",
    "Policy": "policy",
    "Runner": "runner",
    "ServiceHandle": "handles",
    "ServiceMethod": "handles",
    "SessionContext": "session_context",
}


def __getattr__(name: str) -> Any:
    # Who only decorates functions never needs these.
    from importlib import import_module

    if name == "ObjectFuture":
        return import_module("flame_remote._refs").ObjectRef
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
