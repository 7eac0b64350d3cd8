"""Blocked workers run what they wait for, so that waiting needs no more processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from flame_remote._ids import TaskId

from .fleet import Fleet
from .pace import Pace
from .placement import Placement
from .queues import ReadyQueues
from .records import BlockedRequest, TaskRecord, WorkerRecord
from .resources import ResourcePool
from .states import TaskState
from .waiting import WaitGraph, runs_anywhere

# Tasks on top of each other in one worker while others can be started: recursion would else pile
# up in one process until Python's own limit.
MAX_HELP_DEPTH: Final = 8


class Helping:
    """Places ready tasks on top of those that wait for them. Part of the scheduler."""

    def __init__(
        self,
        tasks: Mapping[TaskId, TaskRecord],
        queues: ReadyQueues,
        fleet: Fleet,
        pool: ResourcePool,
        pace: Pace,
        graph: WaitGraph,
        placement: Placement,
    ) -> None:
        self._tasks = tasks
        self._queues = queues
        self._fleet = fleet
        self._pool = pool
        self._pace = pace
        self._graph = graph
        self._placement = placement

    # --- what a task itself has asked for -------------------------------------------------

    def help_directly(self) -> None:
        """Let blocked workers run themselves what they wait for, rather than start others."""
        for worker in list(self._fleet.blocked.values()):
            request = worker.blocked[-1]
            # An impatient one would be late: what it runs itself holds it up.
            if (
                request.candidates
                and request.patient
                and len(worker.blocked) <= MAX_HELP_DEPTH
                and worker.is_stuck
                and (first := self._awaited_ready_task(worker)) is not None
                and self._pool.fits(first.spec.target.demand)
                and _can_carry(worker)
            ):
                batch = self._awaited_batch(request, first)
                self._placement.send_to_help(worker, batch)

    def _awaited_ready_task(self, worker: WorkerRecord) -> TaskRecord | None:
        candidates = worker.blocked[-1].candidates
        while candidates:
            record = self._tasks.get(candidates[0])
            if (
                record is not None
                and _can_be_carried(record)
                and worker.may_also_run(record.spec.target)
            ):
                return record
            candidates.popleft()
        return None

    def _awaited_batch(self, request: BlockedRequest, first: TaskRecord) -> list[TaskRecord]:
        """Take out awaited tasks for one worker: its share, if they are known to be short."""
        target_id = first.spec.target.id
        window = self._pace.window(target_id)
        share = min(window, math.ceil(len(request.candidates) / self._fleet.cpus))
        batch: list[TaskRecord] = []
        while len(batch) < share and request.candidates:
            record = self._tasks.get(request.candidates.popleft())
            if (
                record is not None
                and record.spec.target.id == target_id
                and _can_be_carried(record)
            ):
                self._queues.take(record)
                batch.append(record)
        return batch

    # --- what else it waits for -----------------------------------------------------------

    def help_from_behind(self) -> None:
        """Get on with what blocked tasks wait for, however indirectly, where nobody else can.

        Blocked tasks may fill all workers that may be started, and actors may hold all CPUs: then
        it runs on top of what waits for it, and on CPUs that were lent to actors.
        """
        standstill = not any(
            worker.assigned and not worker.is_stuck for worker in self._fleet.functions.values()
        )
        if not standstill and not any(map(self._pool.fits, self._queues.demands())):
            return
        stuck = [worker for worker in self._fleet.blocked.values() if worker.is_stuck]
        # Lowest stack first, so that recursion spreads over the workers.
        stuck.sort(
            key=lambda worker: (
                _was_lost_once(worker),
                not _can_carry(worker),
                not worker.blocked[-1].patient,
                len(worker.blocked),
            )
        )
        apart: list[TaskRecord] = []  # that cannot run on top of what waits for them
        for worker in stuck:
            for record in self._graph.ready_tasks_behind(worker.blocked[-1]):
                demand = record.spec.target.demand
                if self._pool.fits(demand) or (standstill and self._pool.fits_but_for_cpus(demand)):
                    if not self._place_behind(record, worker):
                        apart.append(record)
                        continue
                    standstill = False
                    break
            if not len(self._queues):
                return
        if standstill and apart and not self._fleet.pauses:
            # Nobody else will come free. There are never more of these than waits in a row.
            self._queues.take(apart[0])
            self._placement.place(apart[0]).is_extra = True

    def _place_behind(self, record: TaskRecord, worker: WorkerRecord) -> bool:
        """Run a task for a worker that waits for it: on another one if there is, else on top.

        Return False if it can do neither.
        """
        target = record.spec.target
        has_idle = self._placement.finds_idle(target.demand, target.environment)
        has_own = has_idle or self._may_have_own_worker(record, worker)
        if not has_own and not worker.may_also_run(target):
            return False
        self._queues.take(record)
        if has_idle:
            self._placement.place(record)
        elif has_own:
            self._placement.place(record).is_extra = True
        else:
            self._placement.send_to_help(worker, [record])
        return True

    def _may_have_own_worker(self, record: TaskRecord, worker: WorkerRecord) -> bool:
        """Whether to start one process more than is usual, rather than risk what was lost before.

        Else tasks that may be retried without end could go on ending each other's process. There
        are never more of these than tasks that have lost a worker.
        """
        if self._fleet.pauses or not (record.attempts or _was_lost_once(worker)):
            return False
        functions = self._fleet.functions.values()
        extra = sum(other.is_extra for other in functions)
        return extra < sum(map(_was_lost_once, functions)) + (record.attempts > 0)


def _can_carry(worker: WorkerRecord) -> bool:
    """Say whether the tasks on a stack may have others run on top of them: should one of those
    end the process, they will be run again. Once only: the next time it would be their own end."""
    return not _was_lost_once(worker) and all(
        record.spec.target.max_retries != 0 for record in worker.assigned.values()
    )


def _was_lost_once(worker: WorkerRecord) -> bool:
    """Say whether any task of a worker was running before, when another worker was lost."""
    return any(record.attempts for record in worker.assigned.values())


def _can_be_carried(record: TaskRecord) -> bool:
    """Say whether a task may run on top of one that waits for it: none that has cost a worker."""
    return record.state is TaskState.READY and runs_anywhere(record) and record.attempts == 0
