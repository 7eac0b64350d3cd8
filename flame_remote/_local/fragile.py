"""Code that runs when an object dies: an interrupt that strikes there is lost, and so is its work.

Python runs it at any moment in any thread, prints what it raises, and goes on. Signal handlers ask
here, and strike a moment later instead.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE: Final = "flame_remote."
_callbacks: Final[set[CodeType]] = set()  # filled while modules are imported


def finaliser(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that is called by a weak reference; a `__del__` needs no mark."""
    _callbacks.add(function.__code__)
    return function


def is_in_finaliser(frame: FrameType | None) -> bool:
    """Say whether the code is a finaliser of this package's, or was called by one."""
    while frame is not None:
        code = frame.f_code
        if code in _callbacks or (
            code.co_name == "__del__" and frame.f_globals["__name__"].startswith(_PACKAGE)
        ):
            return True
        frame = frame.f_back
    return False
