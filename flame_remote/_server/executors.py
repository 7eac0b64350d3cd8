"""All instances of the cluster."""

from __future__ import annotations

import asyncio

from .instance import InstanceLife
from .records import Application, Instance, Session, Task
from .workshop import Workshop


class Executors:
    """Starts, feeds and ends instances. Belongs to the loop's thread."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._lives: dict[str, InstanceLife] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, instance: Instance, session: Session, application: Application) -> None:
        """Start an instance; the manager is told what becomes of it."""
        life = InstanceLife(self._workshop, instance.id, session, application)
        self._lives[instance.id] = life
        task = asyncio.ensure_future(life.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._lives.pop(instance.id))

    def run(self, instance_id: str, task: Task) -> None:
        """Send a task to an instance."""
        self._lives[instance_id].give(task)

    def stop(self, instance_id: str, kill: bool) -> None:
        """End an instance."""
        self._lives[instance_id].stop(kill)

    async def close(self) -> None:
        """Give up all instances; their processes end with the spawner."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
