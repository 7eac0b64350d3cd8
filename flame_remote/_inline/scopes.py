"""A scope of the inline engine."""

from __future__ import annotations

from contextvars import Token

from flame_remote._deadline import Deadline
from flame_remote._engine_scope import EngineScope
from flame_remote._ids import TaskId

from .nesting import current_parent, task_stack
from .running import Runner
from .tables import Tables
from .waits import Waits


class InlineScope(EngineScope):
    """A scope: it stands on the stack of tasks like one of them."""

    def __init__(
        self,
        scope_id: TaskId,
        tables: Tables,
        runner: Runner,
        waits: Waits,
        deadline: float | None,
        *,
        stops: bool,
    ) -> None:
        """Begin inside the scope that the calling code is in; as Engine.open_scope."""
        # Constant after construction.
        self._id = scope_id
        self._tables = tables
        self._lineage = tables.lineage
        self._runner = runner
        self._waits = waits
        # Belongs to the thread or task that enters and leaves.
        self._token: Token[tuple[TaskId, ...]] | None = None
        with tables.lock:
            tables.scopes.add(self._id)
            self._lineage.open_scope(self._id, current_parent(), deadline, stops=stops)

    def enter(self) -> None:
        self._token = task_stack.set((*task_stack.get(), self._id))

    def leave(self) -> None:
        if self._token is not None:
            task_stack.reset(self._token)

    def wait(self, deadline: Deadline) -> bool:
        with self._tables.lock:
            below = self._lineage.descendants(self._id)
        if below:
            self._waits.wait_for_calls(below, deadline)
        return not below

    def cancel(self, force: bool) -> int:
        with self._tables.lock:
            below = self._lineage.cancel(self._id)
        for task_id in below:
            self._runner.cancel_call(task_id)
        return len(below)

    def is_cancelled(self) -> bool:
        node = self._lineage.nodes.get(self._id)
        return node is not None and node.cancelled

    def failure(self) -> bytes:
        node = self._lineage.nodes.get(self._id)
        return b"" if node is None else node.failure

    def close(self) -> None:
        with self._tables.lock:
            self._tables.scopes.discard(self._id)
            self._lineage.ended(self._id)
