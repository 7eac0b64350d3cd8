"""The scopes of the main program, and those of tasks."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

from flame_remote._deadline import Deadline
from flame_remote._engine_scope import EngineScope
from flame_remote._ids import TaskId
from flame_remote._refs import ObjectRef

from .worker import current_task

if TYPE_CHECKING:
    from .engine import LocalEngine
    from .nested import WorkerEngine

# The innermost scope that calls of the main program belong to, 0 for none.
current_scope: Final[ContextVar[TaskId]] = ContextVar("flame_scope", default=0)


class DriverScope(EngineScope):
    """A scope in the main program."""

    def __init__(self, engine: LocalEngine, deadline: float | None, *, stops: bool) -> None:
        self._engine = engine
        self._core = engine._core
        self._id = engine.new_id()
        self._token: Token[TaskId] | None = None
        with engine._turn:
            self._core.drain()
            lineage = self._core.lineage
            lineage.open_scope(self._id, current_scope.get(), deadline, stops=stops)

    def enter(self) -> None:
        self._token = current_scope.set(self._id)

    def leave(self) -> None:
        if self._token is not None:
            current_scope.reset(self._token)

    def wait(self, deadline: Deadline) -> bool:
        engine = self._engine
        with engine._turn:
            self._core.drain()
            found = self._core.unfinished_in(self._id)
            self._core.objects.hold(found)
            refs: list[ObjectRef[Any]] = [ObjectRef(task_id, engine) for task_id in found]
        self._core.after_turn()
        if refs:
            engine.wait(refs, len(refs), deadline)
        return not refs

    def cancel(self, force: bool) -> int:
        with self._engine._turn:
            self._core.drain()
            number = self._core.cancel_scope(self._id, force)
        self._core.after_turn()
        return number

    def is_cancelled(self) -> bool:
        node = self._core.lineage.nodes.get(self._id)
        return node is not None and node.cancelled

    def failure(self) -> bytes:
        node = self._core.lineage.nodes.get(self._id)
        return b"" if node is None else node.failure

    def close(self) -> None:
        with self._engine._turn:
            self._core.lineage.ended(self._id)


class TaskScope(EngineScope):
    """A scope in a task: the driver keeps it."""

    def __init__(self, engine: WorkerEngine, deadline: float | None, *, stops: bool) -> None:
        self._engine = engine
        self._id = engine.new_id()
        self._task = engine.current_task()
        self._token: Token[TaskId] | None = None
        engine.ask("open scope", self._id, current_task.get(), deadline, stops)

    def enter(self) -> None:
        engine = self._engine
        engine.task_of_scope[self._id] = self._task
        self._token = current_task.set(self._id)

    def leave(self) -> None:
        if self._token is not None:
            current_task.reset(self._token)
            self._engine.task_of_scope.pop(self._id, None)

    def wait(self, deadline: Deadline) -> bool:
        found = self._engine.ask("unfinished", self._id)
        if found:
            self._engine.waits.watch(found, len(found), deadline)
        return not found

    def cancel(self, force: bool) -> int:
        return int(self._engine.ask("cancel scope", self._id, force))

    def is_cancelled(self) -> bool:
        return bool(self._engine.ask("is cancelled", self._id))

    def failure(self) -> bytes:
        return bytes(self._engine.ask("failure", self._id))

    def close(self) -> None:
        self._engine.ask("close scope", self._id)
