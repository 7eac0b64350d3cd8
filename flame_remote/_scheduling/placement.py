"""Which worker gets which ready tasks, and how many at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from flame_remote._environment import Environment
from flame_remote._spec import Demand, Target

from .clock import Clock
from .commands import Command, SendTasks
from .fleet import Fleet
from .leases import Leases
from .pace import Pace
from .queues import ReadyQueues
from .records import TaskRecord, WorkerRecord
from .resources import Lease, ResourcePool

# A worker that holds unstarted tasks and says nothing for this long gives them back: one of the
# tasks ahead takes longer than such tasks used to.
STALL_SECONDS: Final = 0.010


class Placement:
    """Sends tasks to workers, and takes for them what they demand. Part of the scheduler."""

    def __init__(
        self,
        queues: ReadyQueues,
        fleet: Fleet,
        pool: ResourcePool,
        pace: Pace,
        clock: Clock,
        sent: Callable[[TaskRecord], None],
        decide: Callable[[Command], None],
    ) -> None:
        """`sent` is told of each task with terms that is sent to a worker."""
        self.leases = Leases(pool)
        self._queues = queues
        self._fleet = fleet
        self._pool = pool
        self._pace = pace
        self._clock = clock
        self._sent = sent
        self._decide = decide

    # --- workers that have nothing to do --------------------------------------------------

    def can_place(self, demand: Demand, environment: Environment | None) -> bool:
        """Say whether a task that asks for `demand` could be placed on a worker of its own."""
        return self._pool.fits(demand) and (
            self.finds_idle(demand, environment) or self._fleet.may_start(demand)
        )

    def finds_idle(self, demand: Demand, environment: Environment | None) -> bool:
        """Say whether an idle worker can take a task that fits, or can go to make room for it."""
        fleet = self._fleet
        if not fleet.pauses:
            return bool(fleet.idle)
        return fleet.find_idle(environment, self._pool.devices_for(demand)) is not None

    def place(self, record: TaskRecord) -> WorkerRecord:
        """Send a task to an idle worker, or else a new one, with more of the same if it is short.

        `record` has been taken out of its queue.
        """
        fleet = self._fleet
        takers = len(fleet.idle) + max(0, fleet.cpus - len(fleet.functions))
        lease = self._pool.take(record.spec.target.demand)
        worker = self._worker_for(record.spec.target, lease.devices)
        batch = [record]
        if len(self._queues):
            share = math.ceil(len(self._queues) / max(1, takers))
            more = min(self._pace.window(record.spec.target.id) - 1, share)
            if more > 0:
                batch += self._queues.pop_like(record, more)
        worker.leases.append(lease)
        self.send(worker, batch, lease)
        return worker

    def _worker_for(self, target: Target, devices: tuple[int, ...]) -> WorkerRecord:
        """Return an idle worker of the right environment and GPUs, or a new one."""
        fleet, environment = self._fleet, target.environment
        worker = fleet.find_idle(environment, devices)
        if worker is not None:
            del fleet.idle[worker.id]
        else:
            fleet.make_room(target.demand)
            worker = fleet.start(environment=environment, devices=devices)
        if devices:
            self._clear(devices)
        return worker

    def _clear(self, devices: tuple[int, ...]) -> None:
        """Let go of idle workers that may still have memory on GPUs which are now another's."""
        given_away = {device for device in devices if self._pool.is_given_away(device)}
        for worker in list(self._fleet.idle.values()):
            if not given_away.isdisjoint(worker.devices):
                self._fleet.let_go(worker)

    def place_actor(self, creation: TaskRecord) -> WorkerRecord:
        """Send a constructor to a worker of its own. It has been taken out of its queue."""
        target = creation.spec.target
        lease = self._pool.take(target.demand)
        worker = self._fleet.start(
            creation.spec.id, target.max_concurrency, target.environment, lease.devices
        )
        if lease.devices:
            self._clear(lease.devices)
        worker.leases.append(lease)
        self.send(worker, [creation], lease)
        return worker

    # --- workers that have something to do ------------------------------------------------

    def top_up(self) -> None:
        """Send more of the same to workers whose channel runs low, before they run dry."""
        queues = self._queues
        kind = queues.only_kind()
        if kind is None:
            return  # what waits elsewhere would starve behind an endless lease
        priority, depth, demand, environment = kind
        for worker in self._fleet.functions.values():
            if not worker.assigned or worker.blocked or worker.doomed or worker.recalled:
                continue
            if worker.is_used_up:
                continue
            last = next(reversed(worker.assigned.values()))
            target = last.spec.target
            if (
                last.priority != priority
                or last.depth != depth
                or target.demand != demand
                or target.environment != environment
                or last.lease is None
            ):
                continue
            window = self._pace.window(target.id)
            room = window - len(worker.assigned)
            if room > window // 2:
                share = max(1, math.ceil(len(queues) / self._fleet.cpus))
                batch = queues.pop_like(last, min(room, share))
                if batch:
                    self.send(worker, batch, last.lease)
                if not len(queues):
                    return

    # --- sending --------------------------------------------------------------------------

    def send_to_help(self, worker: WorkerRecord, batch: Sequence[TaskRecord]) -> None:
        """Take what tasks demand, all of them the same, and send them to run on top of others."""
        lease = self._pool.take(batch[0].spec.target.demand)
        worker.leases.append(lease)
        self.send(worker, batch, lease, helps=True)

    def send(
        self,
        worker: WorkerRecord,
        batch: Sequence[TaskRecord],
        lease: Lease,
        *,
        helps: bool = False,
    ) -> None:
        """Send tasks that have been taken out of their queue."""
        assigned = worker.assigned
        if not assigned:
            worker.quiet_since = self._clock.now
        for record in batch:
            record.worker_id = worker.id
            record.lease = lease
            assigned[record.spec.id] = record
            if record.terms is not None:
                self._sent(record)
        if worker.actor_id:
            if worker.blocked:
                self.leases.settle(worker)  # another call goes on while some are blocked
        elif worker.has_unstarted:
            self._clock.wake_at(self._clock.now + STALL_SECONDS)
        self._decide(SendTasks(worker.id, batch, helps))
