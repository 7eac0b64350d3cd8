"""flame_remote, embedded engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flame_remote as flame
from benchmarks import tasks
from benchmarks.adapter import Adapter, Ref, Submit

_noop = flame.remote(tasks.noop)


def spawn_and_gather(width: int) -> int:
    return sum(flame.get([_noop.remote(index) for index in range(width)]))


class FlameRemote(Adapter):
    name = "flame_remote"
    module = "flame_remote"
    setup = """
import flame_remote as flame
flame.init(num_cpus=2)
def run(function, items):
    task = flame.remote(function)
    return flame.get([task.remote(item) for item in items])
stop = flame.shutdown
"""

    def __init__(self) -> None:
        self._actors: list[Any] = []

    def start(self, num_cpus: int) -> None:
        flame.init(num_cpus=num_cpus)

    def close(self) -> None:
        self._actors.clear()
        flame.shutdown()

    def task(self, function: Callable[..., Any]) -> Submit:
        return flame.remote(function).remote

    combine = task

    def get(self, ref: Ref) -> Any:
        return flame.get(ref)

    def gather(self, refs: Sequence[Ref]) -> list[Any]:
        return flame.get(refs)

    def wait(self, refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
        return flame.wait(refs, num_returns=1)

    def put(self, value: Any) -> Ref:
        return flame.put(value)

    def actor_method(self, actor_class: type, method: str) -> Submit:
        actor = flame.remote(actor_class).remote()
        self._actors.append(actor)
        return getattr(actor, method).remote

    def nested_task(self) -> Callable[[int], int]:
        return spawn_and_gather

    def map(
        self, function: Callable[..., Any], items: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        submit = self.task(function)
        refs = [flame.put(value) for value in shared]
        return self.gather([submit(*refs, item) for item in items])

    def joblib_backend(self) -> str:
        import flame_remote.joblib  # noqa: F401  registers it

        return "flame"
