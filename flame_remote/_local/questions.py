"""What tasks ask the driver that concerns no values, and what it answers. Inside a turn."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._spec import Naming
from flame_remote.exceptions import ActorAlreadyExistsError, ActorNotFoundError

from .dropping import drop_value
from .messages import Submit
from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core


class Questions:
    """One method for each question. Answers are plain data."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Held from one question about what is unfinished in a scope to the next, or the end; and
        # from one for an actor until whoever asked has a handle.
        self._held: dict[tuple[WorkerId, TaskId], list[TaskId]] = {}
        self._answers: dict[str, Callable[..., Any]] = {
            "explain": self._explain,
            "snapshot": self._snapshot,
            "facts": self._facts,
            "open scope": self._open_scope,
            "unfinished": self._unfinished,
            "cancel scope": self._cancel_scope,
            "is cancelled": self._is_cancelled,
            "failure": self._failure,
            "close scope": self._close_scope,
            "free": self._free,
            "is kept": self._is_kept,
            "submit named": self._submit_named,
            "find actor": self._find_actor,
            "let go": self._let_go_of,
        }

    def answer(self, worker: WorkerHandle, question: str, arguments: tuple[Any, ...]) -> Any:
        """Answer a task of that worker."""
        return self._answers[question](worker, *arguments)

    # --- knowing --------------------------------------------------------------------------

    def _explain(self, _: WorkerHandle, object_id: ObjectId) -> str:
        from .explaining import Explainer  # needed by few programs

        return Explainer(self._core).explain(object_id)

    def _snapshot(self, _: WorkerHandle) -> bytes:
        from .looking import View

        return pickle.dumps(View(self._core).snapshot(), 5)

    def _facts(self, _: WorkerHandle, task_id: TaskId) -> bytes:
        from .looking import View

        return pickle.dumps(View(self._core).facts_of(task_id), 5)

    # --- objects --------------------------------------------------------------------------

    def _free(self, _: WorkerHandle, *object_ids: ObjectId) -> None:
        for object_id in object_ids:
            drop_value(self._core.objects, object_id)
        self._core.settle_requests()

    def _is_kept(self, _: WorkerHandle, object_id: ObjectId) -> bool:
        return object_id in self._core.objects.by_id

    # --- actors ---------------------------------------------------------------------------

    def _submit_named(self, worker: WorkerHandle, call: tuple[Any, ...], *naming: Any) -> bool:
        """Take in the construction of a named actor; return False if the name is taken."""
        named, message = Naming(*naming), Submit(*call)
        try:
            self._core.revivals.names.give(named, message.task_id)
        except ActorAlreadyExistsError:
            return False
        self._core.inbound.handle(worker, message)
        self._core.revivals.named(named, message.task_id)
        return True

    def _find_actor(
        self, worker: WorkerHandle, token: TaskId, name: str, namespace: str
    ) -> tuple[ActorId, bytes] | tuple[str, ...]:
        """Return an actor, held until "let go", and its handle; or names that are near."""
        self._core.drain()
        try:
            named = self._core.revivals.names.find(name, namespace)
        except ActorNotFoundError as error:
            return error.near
        self._core.objects.hold([named.actor])
        self._held[worker.id, token] = [named.actor]
        return named.actor, named.naming.handle

    def _let_go_of(self, worker: WorkerHandle, token: TaskId) -> None:
        self._let_go(worker.id, token)

    # --- scopes ---------------------------------------------------------------------------

    def _open_scope(
        self,
        _: WorkerHandle,
        scope_id: TaskId,
        owner: TaskId,
        deadline: float | None,
        stops: bool,
    ) -> None:
        self._core.lineage.open_scope(scope_id, owner, deadline, stops=stops)

    def _unfinished(self, worker: WorkerHandle, scope_id: TaskId) -> list[TaskId]:
        """Return the calls of a scope; they are kept while the task waits for them."""
        found = self._core.unfinished_in(scope_id)
        self._core.objects.hold(found)
        self._let_go(worker.id, scope_id)
        self._held[worker.id, scope_id] = found
        return found

    def _let_go(self, worker_id: WorkerId, scope_id: TaskId) -> None:
        self._core.objects.release(self._held.pop((worker_id, scope_id), ()))

    def forget(self, worker_id: WorkerId) -> None:
        """A worker is gone."""
        for worker, scope_id in [key for key in self._held if key[0] == worker_id]:
            self._let_go(worker, scope_id)

    def _cancel_scope(self, _: WorkerHandle, scope_id: TaskId, force: bool) -> int:
        return self._core.cancel_scope(scope_id, force)

    def _is_cancelled(self, _: WorkerHandle, scope_id: TaskId) -> bool:
        node = self._core.lineage.nodes.get(scope_id)
        return node is not None and node.cancelled

    def _failure(self, _: WorkerHandle, scope_id: TaskId) -> bytes:
        node = self._core.lineage.nodes.get(scope_id)
        return b"" if node is None else node.failure

    def _close_scope(self, worker: WorkerHandle, scope_id: TaskId) -> None:
        self._let_go(worker.id, scope_id)
        self._core.lineage.ended(scope_id)
