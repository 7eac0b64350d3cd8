"""A scope of the inline engine."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING

from flame_remote._deadline import Deadline
from flame_remote._engine_scope import EngineScope
from flame_remote._ids import TaskId

from .nesting import task_stack

if TYPE_CHECKING:
    from .engine import InlineEngine


class InlineScope(EngineScope):
    """A scope: it stands on the stack of tasks like one of them."""

    def __init__(self, engine: InlineEngine, deadline: float | None, *, stops: bool) -> None:
        self._engine = engine
        self._lineage = engine.lineage
        self._id = engine.new_id()
        self._token: Token[tuple[TaskId, ...]] | None = None
        with engine.lock:
            engine.scopes.add(self._id)
            around = engine.current_parent()
            self._lineage.open_scope(self._id, around, deadline, stops=stops)

    def enter(self) -> None:
        self._token = task_stack.set((*task_stack.get(), self._id))

    def leave(self) -> None:
        if self._token is not None:
            task_stack.reset(self._token)

    def wait(self, deadline: Deadline) -> bool:
        with self._engine.lock:
            below = self._lineage.descendants(self._id)
        if below:
            self._engine.wait_for_calls(below, deadline)
        return not below

    def cancel(self, force: bool) -> int:
        with self._engine.lock:
            below = self._lineage.cancel(self._id)
        for task_id in below:
            self._engine.cancel_call(task_id)
        return len(below)

    def is_cancelled(self) -> bool:
        node = self._lineage.nodes.get(self._id)
        return node is not None and node.cancelled

    def failure(self) -> bytes:
        node = self._lineage.nodes.get(self._id)
        return b"" if node is None else node.failure

    def close(self) -> None:
        with self._engine.lock:
            self._engine.scopes.discard(self._id)
            self._lineage.ended(self._id)
