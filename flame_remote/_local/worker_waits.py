"""Waits of tasks, and of their done callbacks, for objects; the driver says when they are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flame_remote._deadline import Deadline
from flame_remote._execute.callbacks import call_back
from flame_remote._ids import ObjectId, TaskId
from flame_remote._refs import ObjectRef
from flame_remote.engine import Engine

from .messages import Message, Ready, Watch
from .requests import Requests
from .shelter import Shelter


class WorkerWaits:
    """Waits until objects are there. Any thread."""

    def __init__(self, engine: Engine, shelter: Shelter, requests: Requests) -> None:
        """`engine` knows which task it is that waits."""
        # Constant after construction.
        self._engine = engine
        self._shelter = shelter
        self._requests = requests

    def watch(
        self, object_ids: list[ObjectId], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        """As `Engine.wait`, of objects that the driver keeps until then."""

        def watch(request: int, blocks: bool, returned: list[TaskId]) -> Message:
            task = self._engine.current_task()
            return Watch(
                request, task, object_ids, num_returns, blocks and num_returns > 0, returned
            )

        with self._shelter:
            answer = self._requests.wait_for(watch, deadline)
        if answer is None:  # the time is over: ask which are ready now
            return self.watch(object_ids, 0, Deadline(None)) if num_returns else set()
        assert isinstance(answer, Ready)
        return set(answer.object_ids)

    def call_back(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        """Call `callback(ref)` in another thread when the object is there. Does not block."""
        task = self._engine.current_task()
        with self._shelter:
            self._requests.call_back(
                lambda request: Watch(request, task, [ref._id], 1, False, []),
                lambda: call_back(callback, ref, ctrl_c=False),
            )

    def lend_until(
        self,
        is_over: Callable[[], bool],
        awaited: Callable[[], Sequence[ObjectRef[Any]]],
        deadline: Deadline,
    ) -> None:
        """As `Engine.lend_until`: if this is a worker's main thread, which runs what it lends."""
        while self._requests.lends() and not is_over():
            may_add = self._requests.callbacks_run()  # asked before: they may end meanwhile
            refs = awaited()
            if refs and not self.watch([ref._id for ref in refs], 1, deadline):
                return  # the time is over
            if not refs and not may_add:
                return
            with self._shelter:
                self._requests.let_callbacks_run(is_over)
