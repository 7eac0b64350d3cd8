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
from flame_remote._execute.callbacks import call_back
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._refs import ObjectRef, register_engine
from flame_remote._spec import MORTAL, UNLIMITED, Naming, Target, TaskSpec
from flame_remote._wire.packing import Packed, pack
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    ActorAlreadyExistsError,
    ActorNotFoundError,
    DeadlockError,
    FlameError,
    GetTimeoutError,
    StoreFullError,
    UnschedulableError,
)

from . import recorder
from .arena import Arena
from .messages import (
    Ask,
    Cancel,
    Deadlock,
    ExportTarget,
    Fetch,
    Free,
    Granted,
    KeepState,
    Kill,
    Message,
    Put,
    Ready,
    Record,
    Reserve,
    Retire,
    Segment,
    Shrink,
    Submit,
    Told,
    Values,
    Watch,
)
from .requests import Requests
from .running import Runner
from .scopes import TaskScope
from .shelter import Struck
from .values import ROOM_STEP_SECONDS, Opened, Storage
from .worker import Worker, current_task

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
        self.storage = Storage(
            self._make_arena, lambda size: self._link.send(Reserve(0, -size)), self._await_room
        )
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
            link.send_in_turn(_submitted(spec))
        return ref

    def _export(self, spec: TaskSpec) -> None:
        """Tell the driver of what a call needs to be known before it. Inside a turn of the link."""
        target, counts = spec.target, self._link.counts
        counts.own(spec.id)
        if target.id not in counts.exported:
            counts.exported.add(target.id)
            self._link.send_in_turn(_exported(target))

    def submit_named(self, spec: TaskSpec, naming: Naming) -> ObjectRef[Any]:
        ref = ObjectRef[Any](spec.id, self)
        with self._shelter, self._link.turn:
            self._export(spec)
        if not self.ask("submit named", tuple(_submitted(spec)), *astuple(naming)):
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
        with self._shelter:
            kind, data = self.storage.store(packed)
            ref = ObjectRef[Any](self.new_id(), self)
            with self._link.turn:
                self._link.counts.own(ref._id)
                nested = tuple(inner._id for inner in packed.refs)
                self._link.send_in_turn(Put(ref._id, int(kind), data, nested))
        return ref

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        object_ids = [ref._id for ref in refs]
        patient = deadline.seconds is None
        with self._shelter:
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
        return self.watch([ref._id for ref in refs], num_returns, deadline)

    def watch(
        self, object_ids: list[ObjectId], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        """As `wait`, of objects that the driver keeps until then."""

        def watch(request: int, blocks: bool, returned: list[TaskId]) -> Message:
            task = self.current_task()
            return Watch(
                request, task, object_ids, num_returns, blocks and num_returns > 0, returned
            )

        with self._shelter:
            answer = self._requests.wait_for(watch, deadline)
        if answer is None:  # the time is over: ask which are ready now
            return self.watch(object_ids, 0, Deadline(None)) if num_returns else set()
        assert isinstance(answer, Ready)
        return set(answer.object_ids)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self.ask("free", *(ref._id for ref in refs))

    def is_kept(self, object_id: ObjectId) -> bool:
        return bool(self.ask("is kept", object_id))

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return bool(self.wait([ref], 0, Deadline(None)))

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        task = self.current_task()
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
        while self._requests.lends() and not is_over():
            may_add = self._requests.callbacks_run()  # asked before: they may end meanwhile
            refs = awaited()
            if refs and not self.wait(refs, 1, deadline):
                return  # the time is over
            if not refs and not may_add:
                return
            with self._shelter:
                self._requests.let_callbacks_run(is_over)

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

    # --- memory ---

    def _make_arena(self) -> Arena:
        return Arena(self._worker.id, self._reserve, self._announce, self._retire)

    def _reserve(self, size: int) -> None:
        answer = self._requests.ask(lambda request: Reserve(request, size))
        if isinstance(answer, Granted) and not answer.granted:
            raise StoreFullError(size, answer.free_bytes)

    def _await_room(self, needed_bytes: int) -> None:
        """The driver makes room whenever it is asked; by the next time there may be some."""
        self._link.pump_until(lambda: False, Deadline(ROOM_STEP_SECONDS))

    def _announce(self, segment: int, descriptor: int) -> None:
        self._worker.mappings.add_segment(segment, descriptor)
        self._link.send(Segment(segment), [descriptor])

    def _retire(self, segment: int) -> None:
        self._worker.mappings.remove_segment(segment)
        self._link.send(Retire(segment))


def _exported(target: Target) -> ExportTarget:
    return ExportTarget(
        target.id,
        target.kind.value,
        target.name,
        target.code,
        tuple(target.demand),
        target.max_retries,
        target.max_concurrency,
        target.method,
        tuple(ref._id for ref in target.refs),
        () if target.limits is UNLIMITED else astuple(target.limits),
        None if target.environment is None else astuple(target.environment),
        () if target.restarts is MORTAL else astuple(target.restarts),
        target.max_task_retries,
        target.groups,
        target.group,
    )


def _submitted(spec: TaskSpec) -> Submit:
    return Submit(
        spec.id,
        spec.target.id,
        spec.payload,
        spec.dependencies,
        spec.nested,
        spec.actor,
        spec.parent,
        spec.returns,
    )
