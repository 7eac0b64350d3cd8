"""The instances that an inline engine keeps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from flame_remote._execute.coroutines import LoopThread
from flame_remote._ids import TaskId
from flame_remote._spec import TaskSpec


class InlineActor:
    """One instance. The engine's lock guards the fields; the instance is used outside of it."""

    def __init__(
        self, name: str, max_concurrency: int, resources: Mapping[str, float] | None = None
    ) -> None:
        self.name = name
        self.resources = resources or {}
        self.creation: TaskSpec | None = None
        self.max_concurrency = max_concurrency
        self.instance: Any = None
        # The thread of an actor with `async def` methods; all its methods run there.
        self.loop: LoopThread | None = None
        self.running: list[TaskId] = []
        self.failure = b""  # of its constructor, as encoded
        self.how_it_died = ""
        self.exits = False  # by its own wish, which has just ended a call

    @property
    def is_busy(self) -> bool:
        """Whether a further call must wait."""
        return len(self.running) >= self.max_concurrency

    def move_in(self, instance: Any) -> None:
        """Take the instance that the constructor made."""
        if any(
            inspect.iscoroutinefunction(inspect.getattr_static(type(instance), name, None))
            for name in dir(type(instance))
        ):
            self.loop = LoopThread(f"flame-inline-{self.name}")
        self.instance = instance

    def move_out(self) -> None:
        """Drop the instance and end its thread. Runs user code: its __del__, which may call us."""
        loop, self.loop = self.loop, None
        if loop is not None:
            loop.close()
        self.instance = None
