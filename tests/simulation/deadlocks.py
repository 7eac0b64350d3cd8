"""Which tasks can never end because they wait for each other, by what the driver knows.

Written without a look at the scheduler's own search, and slow: it follows every edge.
"""

from __future__ import annotations

from collections.abc import Iterator

from .tasks import SimTask
from .world import World


def waits_for_itself(world: World, start: SimTask) -> bool:
    """Say whether a task waits, through others, for itself."""
    seen = set()
    frontier = [start]
    while frontier:
        for task in _waited_for(world, frontier.pop()):
            if task is start:
                return True
            if task.id not in seen and task.outcome is None:
                seen.add(task.id)
                frontier.append(task)
    return False


def _waited_for(world: World, task: SimTask) -> Iterator[SimTask]:
    worker = task.holder
    if worker is None:
        yield from task.arguments
    elif worker.ending:
        return
    else:
        for request in worker.requests.values():
            if request.frame.task is task and request.blocks and request.patient:
                yield from request.tasks
        if worker.actor is None:
            stack = [frame.task for frame in worker.stack]
            if task in stack:
                above = stack[stack.index(task) + 1 :]
                yield from (other for other in above if other is not None)
    if task.spec.actor:
        yield from _goes_before(task)


def _goes_before(task: SimTask) -> Iterator[SimTask]:
    actor = task.actor
    assert actor is not None
    if actor.creation.outcome is None:
        yield actor.creation
    elif actor.creation.template.max_concurrency == 1:
        running = next(iter(actor.in_flight.values()), task)
        if running is not task:
            yield running
    if task.holder is None:
        for earlier in actor.waiting[task.caller].values():
            if earlier is task:
                break
            yield earlier
