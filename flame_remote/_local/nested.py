"""The engine as tasks see it: every wish goes to the driver, through the worker's channel."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._refs import ObjectRef, register_engine
from flame_remote._spec import Target, TaskSpec
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    DeadlockError,
    GetTimeoutError,
    StoreFullError,
    UnschedulableError,
)

from .arena import Arena
from .messages import (
    Abandon,
    Cancel,
    Deadlock,
    ExportTarget,
    Fetch,
    Free,
    Granted,
    Kill,
    Message,
    Put,
    Ready,
    Reserve,
    Retire,
    Returned,
    Segment,
    Shrink,
    Submit,
    Values,
    Watch,
)
from .running import Runner
from .values import ROOM_STEP_SECONDS, Storage
from .worker import Worker, current_task

Callback = Callable[[ObjectRef[Any]], object]


class WorkerEngine(Engine):
    """What `flame.get` and the others use inside a task. Safe to call from any thread."""

    def __init__(self, session: str, worker: Worker, resources: Mapping[str, float]) -> None:
        # Constant after construction.
        self.session = session
        self.ref_events = worker.ref_events
        self.new_id = _ids.id_source(worker.id).__next__  # type: ignore[method-assign]
        self.current_task = current_task.get  # type: ignore[method-assign]
        self._worker = worker
        self._resources = resources
        self._requests = itertools.count(1)
        self.storage = Storage(
            self._make_arena, lambda size: worker.send(Reserve(0, -size)), self._await_room
        )
        self.runner = Runner(worker, self.storage)
        # Any thread adds its own requests; the reading thread answers them.
        self._answers: dict[int, Message] = {}
        self._callbacks: dict[int, tuple[Callback, ObjectRef[Any]]] = {}
        # Guarded by the worker's turn.
        self._exported: set[int] = set()
        worker.answer = self._take_answer
        register_engine(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        raise NotImplementedError  # replaced in __init__, where it costs nothing to call

    def current_task(self) -> TaskId:
        raise NotImplementedError  # as new_id

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        target = spec.target
        ref = ObjectRef[Any](spec.id, self)
        with self._worker.turn:
            self._worker.counts.own(spec.id)
            if target.id not in self._exported:
                self._exported.add(target.id)
                self._worker.send_in_turn(_exported(target))
            self._worker.send_in_turn(
                Submit(
                    spec.id,
                    target.id,
                    spec.payload,
                    spec.dependencies,
                    spec.nested,
                    spec.actor,
                    spec.parent,
                )
            )
        return ref

    def cancel(self, ref: ObjectRef[Any], force: bool) -> bool:
        answer = self._ask(lambda request: Cancel(request, ref._id, force))
        return isinstance(answer, Granted) and answer.granted

    def kill(self, actor: ActorId) -> None:
        self._worker.send(Kill(actor))

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        kind, data = self.storage.store(packed)
        ref = ObjectRef[Any](self.new_id(), self)
        with self._worker.turn:
            self._worker.counts.own(ref._id)
            nested = tuple(inner._id for inner in packed.refs)
            self._worker.send_in_turn(Put(ref._id, int(kind), data, nested))
        return ref

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        object_ids = [ref._id for ref in refs]
        patient = deadline.seconds is None
        answer = self._wait_for(
            lambda request, blocks, returned: Fetch(
                request, current_task.get(), object_ids, blocks, patient, returned
            ),
            deadline,
        )
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
        return [self.runner.load_value(*value) for value in answer.values]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        object_ids = [ref._id for ref in refs]

        def watch(request: int, blocks: bool, returned: list[TaskId]) -> Message:
            task = current_task.get()
            return Watch(
                request, task, object_ids, num_returns, blocks and num_returns > 0, returned
            )

        answer = self._wait_for(watch, deadline)
        if answer is None:  # the time is over: ask which are ready now
            return self.wait(refs, 0, Deadline(None)) if num_returns else set()
        assert isinstance(answer, Ready)
        return set(answer.object_ids)

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return bool(self.wait([ref], 0, Deadline(None)))

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        request = next(self._requests)
        self._callbacks[request] = callback, ref
        self._worker.send(Watch(request, current_task.get(), [ref._id], 1, False, []))

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        return f"object {_ids.show(ref._id)}"

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        """Nothing to do: a worker ends when its driver says so."""

    # --- asking the driver ---

    def _ask(self, make: Callable[[int], Message]) -> Message:
        """Send a request and return its answer; nothing else is run meanwhile."""
        request = next(self._requests)
        self._worker.send(make(request))
        self._worker.pump_until(lambda: request in self._answers, Deadline(None))
        return self._answers.pop(request)

    def _wait_for(
        self, make: Callable[[int, bool, list[TaskId]], Message], deadline: Deadline
    ) -> Message | None:
        """Send a request that may take long; return its answer, None if the deadline came first.

        In the main thread, run meanwhile what the driver sends to be run on top of this task.
        """
        worker, answers = self._worker, self._answers
        main = threading.current_thread() is threading.main_thread()
        blocks = main and worker.serve_calls is None
        gives_back = blocks and worker.gives_back
        request = next(self._requests)
        worker.flush()
        worker.send(make(request, blocks, worker.take_unstarted() if gives_back else []))
        try:
            while True:
                in_time = worker.pump_until(
                    lambda: (
                        request in answers
                        or (blocks and bool(worker.helping))
                        or (gives_back and bool(worker.inbox))
                    ),
                    deadline,
                )
                if request in answers:
                    return answers.pop(request)
                if not in_time:
                    return None
                if gives_back and worker.inbox:
                    worker.give_back()
                if blocks:
                    worker.run_helping()
        finally:
            # However it ended, KeyboardInterrupt included.
            if answers.pop(request, None) is None:
                worker.send(Abandon(request))
            if blocks and worker.helping:
                self._return_helping()

    def _return_helping(self) -> None:
        returned = []
        while self._worker.helping:
            returned.append(self._worker.helping.popleft()[0])
        self._worker.send(Returned(returned))

    def _take_answer(self, message: Message) -> None:
        """Take in an answer. The reading thread has its turn."""
        if isinstance(message, Shrink):
            self._worker.callbacks.append(self.storage.shrink)
            return
        if isinstance(message, Free):
            for extent in message.extents:
                self.storage.free(*extent)
            return
        request: int = message[0]
        waiting = self._callbacks.pop(request, None)
        if waiting is None:
            self._answers[request] = message
            return
        callback, ref = waiting
        self._worker.callbacks.append(lambda: _call_back(callback, ref))

    # --- memory ---

    def _make_arena(self) -> Arena:
        return Arena(self._worker.id, self._reserve, self._announce, self._retire)

    def _reserve(self, size: int) -> None:
        answer = self._ask(lambda request: Reserve(request, size))
        if isinstance(answer, Granted) and not answer.granted:
            raise StoreFullError(size, answer.free_bytes)

    def _await_room(self, needed_bytes: int) -> None:
        """The driver makes room whenever it is asked; by the next time there may be some."""
        self._worker.pump_until(lambda: False, Deadline(ROOM_STEP_SECONDS))

    def _announce(self, segment: int, descriptor: int) -> None:
        self._worker.mappings.add_segment(segment, descriptor)
        self._worker.send(Segment(segment), [descriptor])

    def _retire(self, segment: int) -> None:
        self._worker.mappings.remove_segment(segment)
        self._worker.send(Retire(segment))


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
    )


def _call_back(callback: Callback, ref: ObjectRef[Any]) -> None:
    try:
        callback(ref)
    except Exception:
        import logging

        logging.getLogger("flame_remote").exception("a done callback of %r failed", ref)
