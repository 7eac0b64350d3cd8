"""Calling the callbacks that users add to refs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flame_remote._refs import ObjectRef


def call_back(
    callback: Callable[[ObjectRef[Any]], object], ref: ObjectRef[Any], *, ctrl_c: bool
) -> None:
    """Call a done callback. What it raises is logged: whoever calls has nothing to do with it.

    Only with `ctrl_c` a KeyboardInterrupt in the main thread goes through.
    """
    try:
        callback(ref)
    except BaseException as error:
        is_main = threading.current_thread() is threading.main_thread()
        if ctrl_c and is_main and isinstance(error, KeyboardInterrupt):
            raise
        import logging

        logging.getLogger("flame_remote").exception("a done callback of %r failed", ref)
