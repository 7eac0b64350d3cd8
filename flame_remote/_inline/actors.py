"""The instances that an inline engine keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame_remote._execute.call import has_async_methods
from flame_remote._execute.coroutines import LoopThread
from flame_remote._execute.iterations import Iterations
from flame_remote._ids import TaskId
from flame_remote._spec import TaskSpec


class InlineActor:
    """One instance. The engine's lock guards the fields; the instance is used outside of it."""

    def __init__(
        self,
        name: str,
        max_concurrency: int,
        resources: Mapping[str, float] | None = None,
        groups: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.name = name
        self.resources = resources or {}
        self.creation: TaskSpec | None = None
        # How many calls run at a time, in each concurrency group; in "" those in none.
        self.limits = dict(groups)
        self.limits[""] = max_concurrency - sum(self.limits.values())
        self.instance: Any = None
        self.iterations = Iterations()  # of its generator methods
        # The thread of an actor with `async def` methods; all its methods run there.
        self.loop: LoopThread | None = None
        self.running: dict[TaskId, str] = {}  # with their groups, in the order of the calls
        self.failure = b""  # of its constructor, as encoded
        self.how_it_died = ""
        self.exits = ""  # how, by its own wish, which has just ended a call

    def busy_with(self, group: str) -> TaskId:
        """Return a call for whose end a further one of the group must wait, 0 if it need not."""
        running = [task_id for task_id, other in self.running.items() if other == group]
        return running[0] if len(running) >= self.limits[group] else 0

    def move_in(self, instance: Any) -> None:
        """Take the instance that the constructor made."""
        if has_async_methods(type(instance)):
            self.loop = LoopThread(f"flame-inline-{self.name}")
        self.instance = instance

    def move_out(self) -> None:
        """Drop the instance and end its thread. Runs user code: its __del__, which may call us."""
        loop, self.loop = self.loop, None
        if loop is not None:
            loop.close()
        self.iterations.clear()
        self.instance = None
