"""Calling user code: every path of every engine ends here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import CoroutineType
from typing import Any


def execute(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[bool, Any]:
    """Call user code; return `(True, its value)` or `(False, its exception)`.

    Nothing that user code raises gets past, `SystemExit` and `KeyboardInterrupt` included: what
    they mean is for the caller to say. A coroutine comes back as it is, not awaited.
    """
    # Every task passes here; benchmarks/workload.py counts it in "no-op tasks".
    try:
        return True, function(*args, **kwargs)
    except BaseException as error:
        return False, error


def has_async_methods(cls: type) -> bool:
    """Say whether any method of a class is an `async def`, a generator among them."""
    for name in dir(cls):
        code = getattr(getattr(cls, name, None), "__code__", None)
        if code is not None and code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
            return True
    return False


def is_coroutine(value: object) -> bool:
    """Say whether `value` came from calling an `async def` and must be awaited for its value."""
    return type(value) is CoroutineType


async def execute_coroutine(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Await user code; answer as `execute` does."""
    try:
        return True, await coroutine
    except BaseException as error:
        return False, error
