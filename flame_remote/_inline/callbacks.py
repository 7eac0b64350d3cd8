"""Calling the callbacks that users add to refs."""

from __future__ import annotations

from typing import Any

from flame_remote._execute.call import execute
from flame_remote._refs import ObjectRef

from .nesting import ends_the_program
from .objects import Callback


def call_back(callback: Callback, ref: ObjectRef[Any]) -> None:
    """Call a done callback. What it raises is logged, but for what ends the whole program."""
    succeeded, error = execute(callback, (ref,), {})
    if not succeeded:
        if ends_the_program(error):
            raise error
        import logging

        logging.getLogger("flame_remote").error("a done callback of %r raised", ref, exc_info=error)
