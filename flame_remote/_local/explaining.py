"""Why a result is not there yet, in one sentence. Inside a turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from flame_remote import _ids
from flame_remote._execute.failure import one_line
from flame_remote._execute.unread import was_cancelled
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._scheduling.records import ActorRecord, TaskRecord, WorkerRecord
from flame_remote._scheduling.states import ActorState
from flame_remote._spec import Demand, TargetKind

from .looking import Stage, View, size_of
from .objects import StoredObject

if TYPE_CHECKING:
    from .core import Core

_MOST_STEPS: Final = 4  # of a chain of waits that is told
_MOST_NAMES: Final = 3


class Explainer:
    """Reads the driver's tables; changes nothing."""

    def __init__(self, core: Core) -> None:
        self._view = View(core)
        self._scheduler = core.scheduler

    def explain(self, object_id: ObjectId) -> str:
        """Say what an object is, and why it is not there or what is there instead."""
        stored = self._view.objects.get(object_id)
        if stored is None:
            return f"object {_ids.show(object_id)} is gone: nothing refers to it any more"
        subject = _subject(object_id, stored)
        if stored.kind == Kind.FAILED:
            if was_cancelled(stored.data):
                return f"{subject} was cancelled"
            return f"{subject} has failed: {one_line(stored.data)}"
        if stored.kind and stored.is_actor:
            return f"{subject} {self._actor_is(object_id)}"
        if stored.kind:
            what = "has succeeded" if stored.name else "was put"
            return f"{subject} {what}: its value is there ({size_of(stored)} bytes)"
        record = self._view.maker_of(object_id)
        if record is None:
            return f"{subject} has just been called"
        return f"{subject} {self._is_doing(record, _MOST_STEPS)}"

    # --- calls ----------------------------------------------------------------------------

    def _is_doing(self, record: TaskRecord, steps: int) -> str:
        view = self._view
        where = f"worker pid {view.pid_of(record.worker_id)}"
        if record.cancelling:
            return f"is being cancelled: it has begun on {where}, and has not ended yet"
        match view.stage_of(record):
            case Stage.WAITING:
                missing = view.awaited_by(record)
                return f"waits for {_its(missing)}: {self._awaited(missing, steps)}"
            case Stage.RESTING:
                due = self._scheduler.alarms.next_of(record)
                seconds = 0.0 if due is None else max(0.0, due - time.monotonic())
                failed = record.own_terms().failures[-1].partition("\n")[0]
                return f"is to be tried again in {seconds:.1f} s, after a failed attempt: {failed}"
            case Stage.BLOCKED:
                awaited = self._awaited(view.awaited_by(record), steps)
                return f"is blocked in get on {where}: it waits for {awaited}"
            case Stage.STARTING:
                return "waits for its worker process, which is being started"
            case Stage.RUNNING:
                seconds = view.quiet_seconds(record)
                again = f", attempt {record.starts}" if record.starts > 1 else ""
                return f"runs on {where} for about {seconds:.1f} s{again}"
            case Stage.SENT:
                worker = view.workers[record.worker_id]
                return f"lies on {where} behind {self._first_on(worker)}, which runs there"
            case _:
                actor = view.actors.get(record.spec.actor)
                if actor is not None:
                    return self._is_queued_on(actor, record, steps)
                return self._is_ready(record)

    def _awaited(self, object_ids: Sequence[ObjectId], steps: int) -> str:
        """Name what is waited for, and say what the first of it is doing."""
        view = self._view
        names = [_subject(i, view.objects[i]) for i in object_ids[:_MOST_NAMES]]
        more = len(object_ids) - len(names)
        text = ", ".join(names) + (f" and {more} more" if more else "")
        first = view.tasks.get(object_ids[0]) if object_ids else None
        if first is None or steps <= 1:
            return text or "what has just come"
        which = "which" if len(object_ids) == 1 else f"of which {names[0]}"
        return f"{text}, {which} {self._is_doing(first, steps - 1)}"

    def _first_on(self, worker: WorkerRecord) -> str:
        first = next(iter(worker.assigned.values()))
        return f"{first.spec.target.name}() {_ids.show(first.spec.id)}"

    # --- actors ---------------------------------------------------------------------------

    def _actor_is(self, object_id: ObjectId) -> str:
        actor = self._view.actors.get(object_id)
        if actor is None:
            return "is dead"
        word = "is alive" if actor.state is ActorState.ALIVE else "ends after its last calls"
        calls = len(actor.in_flight) + sum(map(len, actor.queues.values()))
        has = f"{calls} calls" if calls != 1 else "1 call"
        return f"{word} on worker pid {self._view.pid_of(actor.worker_id)} and has {has} to do"

    def _is_queued_on(self, actor: ActorRecord, record: TaskRecord, steps: int) -> str:
        view = self._view
        name = view.name_of_actor(actor.id)
        creation = view.tasks.get(actor.id)
        if creation is not None:
            doing = self._is_doing(creation, steps - 1) if steps > 1 else "has not returned"
            if actor.is_restarting:
                return f"waits for {name}, which is restarting: its constructor {doing}"
            return f"waits for {name}, whose constructor {doing}"
        before = self._before(actor, record)
        position = sum(1 for _ in before)
        pid = view.pid_of(actor.worker_id)
        running = next(iter(actor.in_flight.values()), None)
        text = f"is call {position + 1} in the queue of {name} (worker pid {pid})"
        if running is None or running is record:
            return f"{text}, and about to run"
        what = f"{running.spec.target.name}() {_ids.show(running.spec.id)}"
        return f"{text}, which runs {what}"

    def _before(self, actor: ActorRecord, record: TaskRecord) -> Iterator[TaskRecord]:
        """Yield the calls that go before one on its actor."""
        for other in actor.in_flight.values():
            if other is record:
                return
            yield other
        for other in actor.queues.get(record.caller, ()):
            if other is record:
                return
            if other.spec.id in self._view.tasks:
                yield other

    # --- calls that could run -------------------------------------------------------------

    def _is_ready(self, record: TaskRecord) -> str:
        pool, fleet = self._scheduler.pool, self._scheduler.fleet
        what = "constructor" if record.spec.target.kind is TargetKind.ACTOR else "call"
        for name, units in record.spec.target.demand:
            free = pool.available.get(name, 0)
            if free < units:
                wanted, left, total = (
                    _amount(name, number) for number in (units, free, pool.total.get(name, 0))
                )
                return (
                    f"waits for a free slot: it takes {wanted} {name}, and {left} of "
                    f"{total} are free; {self._holders(name)}"
                )
        if not pool.fits(record.spec.target.demand):
            wanted = _amount("GPU", record.spec.target.demand.gpu_units)
            return f"waits for {wanted} GPU: what is free is in parts; {self._holders('GPU')}"
        if fleet.pauses:
            return "waits for a worker process: starting one has failed, and is tried again"
        if not fleet.idle and not fleet.may_start(record.spec.target.demand):
            return (
                f"waits for a worker process: all {len(fleet.functions)} are taken; "
                f"{self._holders('CPU')}"
            )
        return f"is the next {what} to be sent to a worker"

    def _holders(self, resource: str) -> str:
        """Say who has a resource."""
        holders = []
        for worker in self._view.workers.values():
            if not any(_takes(lease.demand, resource) and not lease.lent
                       for lease in worker.leases):  # fmt: skip
                continue
            if worker.actor_id:
                who = self._view.name_of_actor(worker.actor_id) or "an actor that ends"
            else:
                who = self._first_on(worker) if worker.assigned else "a call that ends"
            holders.append(f"{who} (pid {self._view.pid_of(worker.id)})")
        if not holders:
            return "nobody holds it"
        more = len(holders) - _MOST_NAMES
        names = ", ".join(holders[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        return f"{names} {'has' if len(holders) == 1 else 'have'} it"


def _amount(resource: str, units: int) -> str:
    amount = max(0, units) / Demand.UNIT
    return f"{amount / 2**20:.0f} MiB" if resource == "memory" else f"{amount:g}"


def _takes(demand: Demand, resource: str) -> bool:
    return any(name == resource for name, _ in demand)


def _its(missing: Sequence[ObjectId]) -> str:
    return "its argument" if len(missing) == 1 else f"{len(missing)} of its arguments"


def _subject(object_id: ObjectId, stored: StoredObject) -> str:
    if not stored.name:
        return f"object {_ids.show(object_id)}"
    brackets = "" if stored.is_actor else "()"
    return f"{stored.name}{brackets} {_ids.show(object_id)}"
