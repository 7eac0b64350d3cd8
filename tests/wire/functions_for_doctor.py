"""Functions that use what cannot be sent, as a script might have them."""

from __future__ import annotations

import threading
import types

LOCK = threading.Lock()


def uses_a_global(x: int) -> int:
    x += 1
    with LOCK:
        return x


def without_a_home(function: types.FunctionType) -> types.FunctionType:
    """Return the function as one of a module that cannot be imported."""
    alone = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    alone.__module__ = "__main__"
    return alone
