"""Ray, one local node, without its dashboard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import ray

from benchmarks import tasks
from benchmarks.adapter import Adapter, Ref, Submit

_noop = ray.remote(tasks.noop)


def spawn_and_gather(width: int) -> int:
    return sum(ray.get([_noop.remote(index) for index in range(width)]))


class Ray(Adapter):
    name = "ray"
    module = "ray"
    distribution = "ray"
    setup = """
import logging
import ray
ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
)
def run(function, items):
    task = ray.remote(function)
    return ray.get([task.remote(item) for item in items])
stop = ray.shutdown
"""

    def __init__(self) -> None:
        self._actors: list[Any] = []

    def start(self, num_cpus: int) -> None:
        ray.init(
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )

    def close(self) -> None:
        self._actors.clear()
        ray.shutdown()

    def task(self, function: Callable[..., Any]) -> Submit:
        return ray.remote(function).remote

    combine = task

    def get(self, ref: Ref) -> Any:
        return ray.get(ref)

    def gather(self, refs: Sequence[Ref]) -> list[Any]:
        return ray.get(list(refs))

    def wait(self, refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
        return ray.wait(refs, num_returns=1)

    def put(self, value: Any) -> Ref:
        return ray.put(value)

    def actor_method(self, actor_class: type, method: str) -> Submit:
        actor = ray.remote(actor_class).remote()
        self._actors.append(actor)
        return getattr(actor, method).remote

    def nested_task(self) -> Callable[[int], int]:
        return spawn_and_gather

    def map(
        self, function: Callable[..., Any], items: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        submit = self.task(function)
        refs = [ray.put(value) for value in shared]
        return self.gather([submit(*refs, item) for item in items])
