"""What workers hold of the resources, and what of that is lent while their tasks wait."""

from __future__ import annotations

from .records import WorkerRecord
from .resources import ResourcePool


class Leases:
    """Keeps each worker's leases as its tasks come, wait, go on and end. Part of the scheduler."""

    def __init__(self, pool: ResourcePool) -> None:
        self._pool = pool

    def settle(self, worker: WorkerRecord) -> None:
        """End the leases that nothing runs under; lend those of tasks that cannot go on."""
        if len(worker.leases) > 1:
            used = {id(record.lease) for record in worker.assigned.values()}
            for lease in [lease for lease in worker.leases if id(lease) not in used]:
                self._pool.end(lease)
                worker.leases.remove(lease)
        suspended = _suspended(worker)
        for position, lease in enumerate(worker.leases):
            if position < suspended:
                self._pool.lend(lease)
            else:
                self._pool.take_back(lease)

    def end(self, worker: WorkerRecord) -> None:
        """End all of a worker's leases."""
        for lease in worker.leases:
            self._pool.end(lease)
        worker.leases.clear()


def _suspended(worker: WorkerRecord) -> int:
    """Return under how many of a worker's leases, from the bottom, no task can go on."""
    if not worker.blocked:
        return 0
    if worker.actor_id:
        return int(len(worker.blocked) >= min(len(worker.assigned), worker.concurrency))
    innermost = worker.assigned[worker.blocked[-1].task_id].lease
    return 1 + next(n for n, lease in enumerate(worker.leases) if lease is innermost)
