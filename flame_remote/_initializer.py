"""What has to run once in each worker before what an executor, or joblib, has it run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any


class Initializer:
    """What has to run once in each worker before the first call of an executor."""

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.key = os.urandom(8)
        self.function = function
        self.args = args

    def run(self) -> None:
        """Run in a worker, unless it has run there already.

        Raises:
            BrokenProcessPool: it failed here, now or before.
        """
        if self.key not in _ended:
            try:
                self.function(*self.args)
            except BaseException as error:
                _ended[self.key] = error
            else:
                _ended[self.key] = None
        failure = _ended[self.key]
        if failure is not None:
            raise BrokenProcessPool(f"the initializer failed in a worker: {failure!r}") from failure


_ended: dict[bytes, BaseException | None] = {}  # in a worker: how each that ran there ended, by key


def call_initialized(
    initializer: Initializer, function: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """Run in a worker: the initializer if it has not run here, then the call."""
    initializer.run()
    return function(*args, **kwargs)
