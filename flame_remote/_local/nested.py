"""The engine as tasks see it: every wish goes to the driver, through the worker's channel."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any, NoReturn

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._environment import Environment
from flame_remote._execute.actor_exit import ActorExit
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._refs import ObjectRef, register_engine
from flame_remote._spec import Naming, TaskSpec
from flame_remote._wire.packing import Packed, pack
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    ActorAlreadyExistsError,
    ActorNotFoundError,
    DeadlockError,
    FlameError,
    GetTimeoutError,
    UnschedulableError,
)

from . import recorder
from .messages import (
    Ask,
    Cancel,
    Deadlock,
    Fetch,
    Free,
    Granted,
    KeepState,
    Kill,
    Message,
    Record,
    Shrink,
    Told,
    Values,
)
from .requests import Requests
from .running import Runner
from .scopes import TaskScope
from .shelter import Struck
from .spec_messages import export_message, submit_message
from .values import Opened
from .worker import Worker, current_task
from .worker_store import WorkerStore
from .worker_waits import WorkerWaits

if TYPE_CHECKING:
    from flame_remote._facts import CallFacts, Snapshot

Callback = Callable[[ObjectRef[Any]], object]


class WorkerEngine(Engine):
    """What `flame.get` and the others use inside a task. Safe to call from any thread."""

    has_groups = True

    def __init__(self, session: str, worker: Worker, resources: Mapping[str, float]) -> None:
        # Constant after construction.
        self.session = session
        self.ref_events = worker.link.ref_events
        self.new_id = _ids.id_source(worker.id).__next__  # type: ignore[method-assign]
        self.current_parent = current_task.get  # type: ignore[method-assign]
        # Scopes that tasks here are in stand for them in `current_task`.
        self.task_of_scope: dict[TaskId, TaskId] = {}
        self._worker = worker
        self._link = worker.link
        self._shelter = worker.shelter
        self._resources = resources
        self._requests = Requests(worker)
        self.waits = WorkerWaits(self, worker.shelter, self._requests)
        self._store = WorkerStore(self, worker, self._requests)
        self.storage = self._store.storage
        self.runner = Runner(worker, self.storage, self._keep_state)
        self.target_events = worker.link.counts.targets.events
        worker.answer = self._take_answer
        register_engine(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        raise NotImplementedError  # replaced in __init__, where it costs nothing to call

    def current_task(self) -> TaskId:
        current = current_task.get()
        return self.task_of_scope.get(current, current)

    def current_parent(self) -> TaskId:
        raise NotImplementedError  # as new_id

    def result_of_task(self) -> ObjectRef[Any] | None:
        task = self.current_task()
        if not task:
            return None
        self.ref_events.append(-task)  # it is kept as long as the task has not ended
        return ObjectRef(task, self)

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def check_environment(self, name: str, environment: Environment) -> None:
        environment.check(name)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        link = self._link
        ref = ObjectRef[Any](spec.id, self)
        with self._shelter, link.turn:
            self._export(spec)
            link.send_in_turn(submit_message(spec))
        return ref

    def _export(self, spec: TaskSpec) -> None:
        """Tell the driver of what a call needs to be known before it. Inside a turn of the link."""
        target, counts = spec.target, self._link.counts
        counts.own(spec.id)
        if target.id not in counts.exported:
            counts.exported.add(target.id)
            self._link.send_in_turn(export_message(target))

    def submit_named(self, spec: TaskSpec, naming: Naming) -> ObjectRef[Any]:
        ref = ObjectRef[Any](spec.id, self)
        with self._shelter, self._link.turn:
            self._export(spec)
        if not self.ask("submit named", tuple(submit_message(spec)), *astuple(naming)):
            raise ActorAlreadyExistsError(naming.name, naming.namespace)
        return ref

    def find_actor(self, name: str, namespace: str) -> tuple[ObjectRef[Any], bytes]:
        token = self.new_id()
        answer = self.ask("find actor", token, name, namespace)
        if len(answer) != 2 or not isinstance(answer[0], int):
            raise ActorNotFoundError(name, namespace, answer)
        actor_id, handle = answer
        # The driver holds the actor until it knows, from what goes before "let go", that we do.
        self.ref_events.append(-actor_id)
        ref = ObjectRef[Any](actor_id, self)
        self.ask("let go", token)
        return ref, handle

    def exit_actor(self) -> NoReturn:
        if not (self.runner.has_instance and current_task.get()):
            super().exit_actor()
        raise ActorExit

    def _keep_state(self, state: Any, what: str) -> None:
        """Have the driver keep the state of the actor that lives here. Any thread.

        Raises SerializationError.
        """
        ref = self.put(pack(state, lambda: what))
        with self._shelter:
            self._link.send(KeepState(ref._id))

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        with self._shelter, self._link.turn:
            for object_id in spec.returns or ():
                self._link.counts.own(object_id)
            refs = [ObjectRef[Any](object_id, self) for object_id in spec.returns or ()]
        self.submit(spec)
        return refs

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        with self._shelter:
            answer = self._requests.ask(lambda request: Cancel(request, ref._id, force, recursive))
        return isinstance(answer, Granted) and answer.granted

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        with self._shelter:
            self._link.send(Kill(actor, may_restart))

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        return self._store.put(packed)

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        object_ids = [ref._id for ref in refs]
        patient = deadline.seconds is None
        with self._shelter:
            # Not by way of `waits`: tasks run on top of this, and the stack has room for so many.
            answer = self._requests.wait_for(
                lambda request, blocks, returned: Fetch(
                    request, self.current_task(), object_ids, blocks, patient, returned
                ),
                deadline,
            )
            opened: Sequence[Opened] = ()
            if isinstance(answer, Values) and not answer.failed:
                opened = self.runner.open(answer.values)
        if answer is None:
            ready = self.wait(refs, 0, Deadline(None))
            late = [ref for ref in refs if ref._id not in ready]
            texts = tuple(self.describe(ref) for ref in late[:10])
            raise GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)
        if isinstance(answer, Deadlock):
            raise DeadlockError(answer.cycle)
        assert isinstance(answer, Values)
        if answer.failed:
            error = rebuild_error(answer.values[0][2])
            raise error.with_traceback(without_own_frames(error.__traceback__))
        return [self._load(ref, value) for ref, value in zip(refs, opened, strict=True)]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        return self.waits.watch([ref._id for ref in refs], num_returns, deadline)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self.ask("free", *(ref._id for ref in refs))

    def is_kept(self, object_id: ObjectId) -> bool:
        return bool(self.ask("is kept", object_id))

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return bool(self.wait([ref], 0, Deadline(None)))

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        self.waits.call_back(ref, callback)

    def lend_until(
        self,
        is_over: Callable[[], bool],
        awaited: Callable[[], Sequence[ObjectRef[Any]]],
        deadline: Deadline,
    ) -> None:
        self.waits.lend_until(is_over, awaited, deadline)

    def _load(self, ref: ObjectRef[Any], value: Opened) -> Any:
        try:
            return value.load()
        except (FlameError, Struck):
            raise
        except BaseException as error:
            raise cannot_rebuild(self.describe(ref), "worker", error) from error

    # --- knowing ---

    def ask(self, question: str, *arguments: Any) -> Any:
        """Ask the driver something that is no value. Blocks until the answer is there."""
        with self._shelter:
            answer = self._requests.ask(lambda request: Ask(request, question, arguments))
        assert isinstance(answer, Told)
        return answer.answer

    def open_scope(self, deadline: float | None, *, stops: bool) -> TaskScope:
        return TaskScope(self, deadline, stops=stops)

    def explain(self, ref: ObjectRef[Any]) -> str:
        return str(self.ask("explain", ref._id))

    def snapshot(self) -> Snapshot:
        seen: Snapshot = pickle.loads(self.ask("snapshot"))
        return seen

    def call_facts(self) -> CallFacts:
        task, around = self.current_task(), self.current_parent()
        facts: CallFacts = pickle.loads(self.ask("facts", task))
        if around != task:
            inner: CallFacts = pickle.loads(self.ask("facts", around))
            facts = replace(facts, deadline=inner.deadline)
        return facts

    def is_cancelled(self) -> bool:
        return self._shelter.was_cancelled(self.current_task())

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        return f"object {_ids.show(ref._id)}"

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        """Nothing to do: a worker ends when its driver says so."""

    def _take_answer(self, message: Message) -> None:
        """Take in what is no affair of the worker's own. The reading thread has its turn."""
        match message:
            case Record():
                recorder.begin(message, self, self.runner, self._worker)
            case Shrink():
                self._link.callbacks.append(self.storage.shrink)
            case Free(extents):
                for extent in extents:
                    self.storage.free(*extent)
            case _:
                self._requests.take_answer(message)
