"""Compares the scheduler's tables with each other, and with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flame_remote._scheduling.states import ActorState, TaskState
from flame_remote._spec import Demand, TargetKind

if TYPE_CHECKING:
    from .world import World

_ENDED: Final = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


class Tables:
    """Looks into all of them, which takes long."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._pool = world.scheduler.pool

    def inspect(self) -> None:
        """Compare the scheduler's tables with each other, and with the truth."""
        self._tasks_are_where_they_should_be()
        self._resources_are_accounted_for()
        self._workers_are_consistent()
        self._actors_are_consistent()

    def _tasks_are_where_they_should_be(self) -> None:
        scheduler = self._scheduler
        ready = {TargetKind.FUNCTION: 0, TargetKind.ACTOR: 0, TargetKind.METHOD: 0}
        for task_id, record in scheduler.tasks.items():
            task = self._world.tasks[task_id]
            assert task.outcome is None
            assert task.record is record
            if record.state is TaskState.ASSIGNED:
                assert task.holder is not None
                assert record.worker_id == task.holder.id
                assert scheduler.workers[record.worker_id].assigned[task_id] is record
                continue
            assert task.holder is None
            missing = sum(argument.outcome is None for argument in task.arguments)
            assert record.missing == missing
            if record.state is TaskState.RESTING:
                assert task.rests_until > 0
                continue
            assert (record.state is TaskState.READY) == (missing == 0)
            assert not record.cancelling
            if record.state is TaskState.READY:
                ready[record.spec.target.kind] += 1
        for queues, kind in (
            (scheduler._tasks.ready, TargetKind.FUNCTION),
            (scheduler._tasks.creations, TargetKind.ACTOR),
        ):
            assert len(queues) == len(list(queues)) == ready[kind]

    def _resources_are_accounted_for(self) -> None:
        taken: dict[str, int] = {}
        for worker in self._scheduler.workers.values():
            for lease in worker.leases:
                for name, units in lease.demand:
                    if not (lease.lent and name == "CPU"):
                        taken[name] = taken.get(name, 0) + units
        for name, total in self._pool.total.items():
            assert self._pool.available[name] == total - taken.get(name, 0), name
        self._gpus_are_given_away_once()

    def _gpus_are_given_away_once(self) -> None:
        pool = self._pool
        taken = [0] * len(pool.gpus)
        for worker in self._scheduler.workers.values():
            shares = [lease for lease in worker.leases if lease.demand.gpu_units]
            assert len(shares) <= 1, "each on its own process"
            for lease in shares:
                assert lease.devices == worker.devices
                units = lease.demand.gpu_units
                assert min(units, Demand.UNIT) * len(lease.devices) == units
                for device in lease.devices:
                    taken[device] += min(units, Demand.UNIT)
        for total, given, free in zip(pool.gpus, taken, pool.free_of_gpus, strict=True):
            assert 0 <= given <= total
            assert free == total - given

    def _workers_are_consistent(self) -> None:
        scheduler = self._scheduler
        for worker in scheduler.workers.values():
            assert not self._world.workers[worker.id].lost
            idle = worker.id in scheduler.fleet.idle
            if worker.actor_id:
                assert not idle
                assert worker.id not in scheduler.fleet.functions
                continue
            assert scheduler.fleet.functions[worker.id] is worker
            assert idle == (not worker.assigned and not worker.doomed)
            assert bool(worker.leases) == bool(worker.assigned)
            assert (worker.id in scheduler.fleet.blocked) == bool(worker.blocked)
            leases = [record.lease for record in worker.assigned.values()]
            lent = [lease.lent for lease in worker.leases]
            innermost = (
                worker.assigned[worker.blocked[-1].task_id].lease if worker.blocked else None
            )
            below = worker.leases.index(innermost) + 1 if innermost is not None else 0
            assert lent == [True] * below + [False] * (len(lent) - below)
            assert all(lease in leases for lease in worker.leases)
            assert all(lease in worker.leases for lease in leases)

    def _actors_are_consistent(self) -> None:
        for actor_id, actor in self._scheduler.actors.table.items():
            truth = self._world.actors[actor_id]
            assert list(actor.in_flight) == list(truth.in_flight)
            waiting = [
                [record.spec.id for record in queue if record.state not in _ENDED]
                for queue in actor.queues.values()
            ]
            assert all(waiting)
            assert sorted(waiting) == sorted(map(list, filter(None, truth.waiting.values())))
            if actor.state in (ActorState.WAITING, ActorState.STARTING):
                assert truth.creation.outcome is None
                assert not truth.in_flight

    def everything_has_ended(self) -> None:
        """When nothing happens any more, nothing is left to be done."""
        from .world import Hang

        world, scheduler = self._world, self._scheduler
        unfinished = [task for task in world.tasks.values() if task.outcome is None]
        if unfinished:
            shown = ", ".join(
                f"{task.spec.target.name} {task.id} {task.record.state.name}"
                for task in unfinished[:10]
            )
            raise Hang(f"{len(unfinished)} tasks never end: {shown}")
        self.inspect()
        assert not scheduler.tasks
        assert not scheduler.actors.table
        assert not scheduler.fleet.blocked
        assert not list(scheduler._tasks.ready.demands())
        assert not list(scheduler._tasks.creations.demands())
        assert self._pool.available == self._pool.total
        assert scheduler.workers.keys() == scheduler.fleet.idle.keys()
        assert len(scheduler.fleet.idle) <= scheduler.fleet.cpus
        for worker in world.workers.values():
            assert worker.lost or worker.id in scheduler.fleet.idle
            assert worker.lost or not (worker.requests or worker.stack or worker.inbox)
        for actor in world.actors.values():
            assert actor.handles == 0
            assert actor.end
