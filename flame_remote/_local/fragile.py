"""Code in which an interrupt does harm that nobody can repair: finalisers and imports.

Python prints what a finaliser raises and goes on: the interrupt is lost, and what the finaliser was
to do. The import system may keep a lock for ever. And many C extensions can be loaded once per
process: if the import of such a package is cut off, every later one fails. Signal handlers ask
here, and strike later instead.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE: Final = "flame_remote."
_IMPORT: Final = "<frozen importlib._bootstrap"  # two files begin so
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


def is_in_import_system(frame: FrameType | None) -> bool:
    """Say whether the code is Python's own that imports, and not that of an imported module."""
    return frame is not None and frame.f_code.co_filename.startswith(_IMPORT)


def is_fragile(frame: FrameType | None) -> bool:
    """Say whether the code is such a finaliser, or belongs to an import in any way."""
    if is_in_finaliser(frame):
        return True
    while frame is not None:
        if is_in_import_system(frame):
            return True
        frame = frame.f_back
    return False
