"""What a worker says, and what follows from it in the driver. Inside a turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._scheduling import events
from flame_remote.exceptions import SpillError, StoreFullError

from .messages import (
    Abandon,
    Ask,
    Cancel,
    Counts,
    Exit,
    ExportTarget,
    Fetch,
    Granted,
    Hello,
    KeepState,
    Kill,
    Message,
    Put,
    Reserve,
    Results,
    Retire,
    Returned,
    Segment,
    Sites,
    Spans,
    Submit,
    Told,
    Watch,
)
from .objects import StoredObject, stored_in
from .spec_messages import exported_target, submitted_call
from .waits import RemoteRequest
from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core


class Inbound:
    """One method for each message of a worker."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._handlers: dict[type, Callable[[WorkerHandle, Any], None]] = {
            Hello: self._hello,
            Results: self._results,
            Counts: self._counts,
            Returned: self._returned,
            Fetch: self._fetch,
            Watch: self._watch,
            Abandon: self._abandon,
            Submit: self._submit,
            ExportTarget: self._export,
            Put: self._put,
            Segment: self._segment,
            Retire: self._retire,
            Reserve: self._reserve,
            Cancel: self._cancel,
            Kill: self._kill,
            Exit: self._exit,
            KeepState: self._keep_state,
            Ask: self._ask,
            Spans: self._spans,
            Sites: self._sites,
        }

    def handle(self, worker: WorkerHandle, message: Message) -> None:
        """Take in one message."""
        self._handlers[type(message)](worker, message)

    def _hello(self, worker: WorkerHandle, message: Hello) -> None:
        self._core.feed(events.WorkerHeard(worker.id))

    # --- tasks ----------------------------------------------------------------------------

    def _results(self, worker: WorkerHandle, message: Results) -> None:
        core = self._core
        tasks, worker_id, failed = core.scheduler.tasks, worker.id, Kind.FAILED
        accepted = []
        again: list[tuple[TaskId, float, str]] = []
        for result in message.results:
            record = tasks.get(result[0])
            if record is not None and record.worker_id == worker_id:
                if result[1] == Kind.AGAIN:
                    again.append((result[0], *result[2]))
                    continue
                accepted.append(result)
                if result[1] > Kind.PICKLED:
                    for place in stored_in(result[1], result[2]):
                        core.segments.value_stored(place[0], place[2])
        endings = [(task_id, kind != failed) for task_id, kind, _, _ in accepted]
        decided = core.decide(events.TasksEnded(worker_id, endings, message.seconds, again))
        # Values first: what the scheduler sends out now may take them as arguments. Tasks that it
        # has ended itself are no longer waiting for a value.
        ended = core.end_tasks(decided)
        settle = core.objects.settle
        for task_id, kind, data, refs in accepted:
            if task_id not in ended:
                settle(task_id, kind, data, refs)
            else:
                core.objects.freed += stored_in(kind, data)
        core.perform(decided)
        core.settle_requests()

    def _returned(self, worker: WorkerHandle, message: Returned) -> None:
        self._give_back(worker, message.task_ids)
        self._core.feed(events.TasksReturned(worker.id, message.task_ids))

    def _give_back(self, worker: WorkerHandle, task_ids: list[int]) -> None:
        """Take the pins of returned tasks' arguments away: nobody has read them."""
        objects = self._core.objects
        for task_id in task_ids:
            record = self._core.scheduler.tasks.get(task_id)
            if record is None or record.worker_id != worker.id:
                continue
            for _, object_id in record.spec.dependencies:
                dropped = objects.dropped.get(object_id)
                was_sent = dropped is not None and task_id not in dropped.told
                if was_sent or objects.by_id[object_id].kind == Kind.STORED:
                    worker.pinned[object_id] -= 1
                    objects.unpin(object_id)

    def _export(self, worker: WorkerHandle, message: ExportTarget) -> None:
        # Refs that the code closes over are held until the worker forgets the target, or ends.
        self._core.objects.hold(message.refs)
        worker.exported[message.target_id] = exported_target(message, self._core.targets.events)

    def _submit(self, worker: WorkerHandle, message: Submit) -> None:
        target = worker.exported[message.target_id]
        spec = submitted_call(message, target)
        core = self._core
        core.objects.by_id[spec.id] = StoredObject(target.name, spec)
        worker.held.add(spec.id)
        for part in spec.returns or ():
            core.objects.by_id[part] = StoredObject(target.name)
            worker.held.add(part)
        core.inbox.append(spec)
        core.drain()

    def _cancel(self, worker: WorkerHandle, message: Cancel) -> None:
        granted = self._core.cancel(message.object_id, message.force, message.recursive)
        self._core.crew.send(worker, Granted(message.request_id, granted, 0))

    def _kill(self, worker: WorkerHandle, message: Kill) -> None:
        self._core.kill_actor(message.actor_id, may_restart=message.may_restart)

    def _exit(self, worker: WorkerHandle, message: Exit) -> None:
        self._core.actor_exits(worker.actor_id, message.how)

    def _keep_state(self, worker: WorkerHandle, message: KeepState) -> None:
        if worker.actor_id in self._core.scheduler.actors.table:  # else it has been killed
            self._core.revivals.keep_state(worker.actor_id, message.object_id)
            self._core.settle_requests()

    # --- knowing --------------------------------------------------------------------------

    def _ask(self, worker: WorkerHandle, message: Ask) -> None:
        answer = self._core.questions.answer(worker, message.question, message.arguments)
        self._core.crew.send(worker, Told(message.request_id, answer))
        self._core.settle_requests()

    def _spans(self, worker: WorkerHandle, message: Spans) -> None:
        self._core.records.take_spans(worker, message.spans)

    def _sites(self, worker: WorkerHandle, message: Sites) -> None:
        self._core.records.take_sites(message.sites)

    # --- objects --------------------------------------------------------------------------

    def _counts(self, worker: WorkerHandle, message: Counts) -> None:
        objects, held = self._core.objects, worker.held
        new = [i for i in message.held if i not in held and i in objects.by_id]
        objects.hold(new)
        held.update(new)
        gone = [object_id for object_id in message.dropped if object_id in held]
        held.difference_update(gone)
        objects.release(gone)
        for object_id in message.unpinned:
            if worker.pinned[object_id] > 0:
                worker.pinned[object_id] -= 1
                objects.unpin(object_id)
        for target_id in message.forgotten:
            target = worker.exported.pop(target_id, None)
            if target is not None:
                objects.release(ref._id for ref in target.refs)
        if objects.freed or objects.gone:
            self._core.settle_requests()

    def _put(self, worker: WorkerHandle, message: Put) -> None:
        objects = self._core.objects
        objects.by_id[message.object_id] = StoredObject("")
        worker.held.add(message.object_id)
        if message.kind == Kind.STORED:
            self._core.segments.value_stored(message.data[0], message.data[2])
        objects.settle(message.object_id, message.kind, message.data, message.refs)

    def _fetch(self, worker: WorkerHandle, message: Fetch) -> None:
        wanted = list(dict.fromkeys(message.object_ids))
        request = RemoteRequest(
            worker,
            message.request_id,
            message.object_ids,
            self._core.answerable,
            fetches=True,
            blocks=message.blocks,
        )
        self._begin(worker, request, wanted, len(wanted), message)

    def _watch(self, worker: WorkerHandle, message: Watch) -> None:
        request = RemoteRequest(
            worker,
            message.request_id,
            message.object_ids,
            self._core.answerable,
            fetches=False,
            blocks=message.blocks,
        )
        self._begin(worker, request, message.object_ids, message.num_returns, message)

    def _begin(
        self,
        worker: WorkerHandle,
        request: RemoteRequest,
        wanted: list[ObjectId],
        number: int,
        message: Fetch | Watch,
    ) -> None:
        """Answer now what can be answered now; else wait, and say that the task is blocked."""
        core = self._core
        worker.requests[message.request_id] = request
        self._give_back(worker, message.returned)
        pending = request.watch(core.objects, wanted, number)
        if request.queued or not request.blocks:
            if message.returned:
                core.feed(events.TasksReturned(worker.id, message.returned))
            if request.queued:
                request.blocks = False  # it never was
            core.settle_requests()
            return
        patient = isinstance(message, Fetch) and message.patient
        core.feed(
            events.TaskBlocked(
                worker.id,
                message.request_id,
                message.task_id,
                pending,
                patient,
                message.returned,
            )
        )

    def _abandon(self, worker: WorkerHandle, message: Abandon) -> None:
        request = worker.requests.pop(message.request_id, None)
        if request is not None:
            request.queued = True
            request.forget(self._core.objects)
            if request.blocks:
                self._core.feed(events.TaskUnblocked(worker.id, message.request_id))

    # --- memory ---------------------------------------------------------------------------

    def _segment(self, worker: WorkerHandle, message: Segment) -> None:
        descriptor = worker.receiver.descriptors.popleft()
        try:
            self._core.segments.add(message.segment_id, descriptor)
        finally:
            os.close(descriptor)

    def _retire(self, worker: WorkerHandle, message: Retire) -> None:
        self._core.segments.retire(message.segment_id)

    def _reserve(self, worker: WorkerHandle, message: Reserve) -> None:
        segments = self._core.segments
        granted = True
        try:
            segments.reserve(message.size)
            worker.reserved_bytes += message.size
        except StoreFullError:
            # It asks again with what it gets back by this; what others give back comes later.
            granted = False
            with suppress(StoreFullError, SpillError):
                self._core.room.make(message.size, worker.id)
                segments.reserve(message.size)
                worker.reserved_bytes += message.size
                granted = True
        if message.request_id:
            self._core.crew.send(worker, Granted(message.request_id, granted, segments.free_bytes))
