"""The decorator."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ._functions import RemoteFunction
from ._options import ACTOR, EXTENSIONS, TASK
from .actor import ActorClass


def remote(*targets: Any, **options: Any) -> Any:
    """Make a function or class remote: `@remote`, `@remote(num_cpus=2)` or `remote(f)`.

    Raises:
        AssertionError: it was given both a target and options, or neither.
        TypeError: the target is neither a function nor a class.
        ValueError: an option is unknown, or cannot be had here.
    """
    if len(targets) == 1 and not options and callable(targets[0]):
        return _made_remote(targets[0], {})
    if targets or not options:
        raise AssertionError(
            "@ray.remote stands alone, as @ray.remote, or has named options only, as "
            "@ray.remote(num_returns=2)"
        )
    known = {*TASK, *ACTOR, *EXTENSIONS}
    for name in options:
        if name not in known:
            raise ValueError(
                f"remote() has no option {name!r}; options: {', '.join(sorted(known))}"
            )
    return lambda target: _made_remote(target, options)


def _made_remote(target: Any, options: Mapping[str, Any]) -> Any:
    if inspect.isclass(target):
        return ActorClass(target, options)
    if inspect.isfunction(target) or inspect.isbuiltin(target):
        return RemoteFunction(target, options)
    raise TypeError("@ray.remote is for functions and classes, not " + type(target).__name__)
