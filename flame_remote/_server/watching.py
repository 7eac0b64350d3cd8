"""Who waits for which task to change."""

from __future__ import annotations

import asyncio

from .records import Task


class TaskVanished(Exception):
    """The task that was watched is gone, with its session."""


class Watchers:
    """Waiting streams, by task. Belongs to the loop's thread; a waiter costs one future."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, list[asyncio.Future[None]]]] = {}

    async def changed(self, task: Task) -> None:
        """Wait until the task is in another state. Raises TaskVanished."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks = self._waiting.setdefault(task.session_id, {})
        tasks.setdefault(task.number, []).append(waiter)
        try:
            await waiter
        finally:
            if not waiter.done() or waiter.cancelled():
                self._remove(task, waiter)

    def tell(self, task: Task) -> None:
        """Wake those who wait for this task."""
        tasks = self._waiting.get(task.session_id)
        waiters = tasks.pop(task.number, None) if tasks else None
        if tasks is not None and not tasks:
            del self._waiting[task.session_id]
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def vanish(self, session_id: str) -> None:
        """Wake those who wait for a task of this session: it is gone."""
        for waiters in self._waiting.pop(session_id, {}).values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(TaskVanished())

    def _remove(self, task: Task, waiter: asyncio.Future[None]) -> None:
        tasks = self._waiting.get(task.session_id, {})
        waiters = tasks.get(task.number, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            tasks.pop(task.number, None)
        if not tasks:
            self._waiting.pop(task.session_id, None)
