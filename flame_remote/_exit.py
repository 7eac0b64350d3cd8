"""What is closed last when the interpreter exits, however late it was imported.

Handlers of `atexit` run in reverse order. Connections are made by modules that are imported when
the engine starts: on their own they would be closed before the engine, which still needs them.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable

_last: list[Callable[[], object]] = []  # only added to


def close_last(callback: Callable[[], object]) -> None:
    """Call `callback()` at exit, after the handlers of everybody who was imported after this."""
    _last.append(callback)


def _close() -> None:
    for callback in reversed(_last):
        callback()


atexit.register(_close)
