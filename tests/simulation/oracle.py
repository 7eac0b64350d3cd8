"""What every task must come to, by a model that knows no scheduler: one call after the other.

The model runs each body at once where it is called, and what it calls inside it. That gives the
one value that a task may return, however it was placed, interrupted and run again. A task may also
fail, but only for a reason that lies in what has happened to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flame_remote._scheduling.fleet import START_ATTEMPTS

from .bodies import chosen, mix
from .scenario import METHOD, Scenario, Template
from .tasks import Failure, SimTask

if TYPE_CHECKING:
    from .world import World

Value = int | None  # None for a task that raises


class Model:
    """The values of a scenario's functions, methods and constructors."""

    def __init__(self, scenario: Scenario) -> None:
        self._templates = scenario.templates
        self._known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Value] = {}

    def value(self, number: int, arguments: tuple[int, ...], handles: tuple[int, ...]) -> Value:
        """Return what a call comes to; `handles` are the classes of the actors it is given."""
        key = (number, arguments, handles)
        if key not in self._known:
            start = number
            for argument in arguments:
                start = mix(start, argument)
            self._known[key] = self._run(self._templates[number], start, list(handles))
        return self._known[key]

    def _run(self, template: Template, value: int, handles: list[int]) -> Value:
        made: list[Value] = []
        for step in template.steps:
            kind = step[0]
            if kind == "call":
                shared = tuple(handles) if step[4] else ()
                made += [self._call(step[1], made, step[3], shared)] * step[2]
            elif kind == "method":
                actor = chosen(handles, step[1])
                if actor is not None:
                    shared = tuple(handles) if step[5] else ()
                    result = self._call(step[2], made, step[4], shared)
                    is_there = self.value(actor, (), ()) is not None
                    made += [result if is_there else None] * step[3]
            elif kind == "actor":
                if not self._templates[step[1]].max_restarts:
                    made.append(self.value(step[1], (), ()))
                handles.append(step[1])
            elif kind == "get" and step[3] == "strict":
                for result in made[: len(made) - step[1]][-step[2] :]:
                    if result is None:
                        return None
                    value = mix(value, result)
            elif kind == "exit":
                return value
            elif kind == "raise" or (kind == "flaky" and step[1] >= template.attempts):
                return None
        return value

    def _call(
        self, number: int, made: Sequence[Value], back: int, handles: tuple[int, ...]
    ) -> Value:
        if not 0 < back <= len(made):
            return self.value(number, (), handles)
        argument = made[-back]
        return None if argument is None else self.value(number, (argument,), handles)


def compare(world: World) -> None:
    """Compare what the tasks of a world have come to with the model."""
    model = Model(world.scenario)
    children: dict[int, list[SimTask]] = {}
    for task in world.tasks.values():
        if isinstance(task.outcome, Failure) and task.spec.parent:
            children.setdefault(task.spec.parent, []).append(task)
    for task in world.tasks.values():
        outcome = task.outcome
        if isinstance(outcome, Failure):
            if outcome.origin == task.id:
                assert _is_justified(world, model, task, outcome.kind), f"{task.id}: {outcome}"
            else:
                others = [*task.arguments, *children.get(task.id, ())]
                causes = [other.outcome for other in others]
                assert any(
                    isinstance(cause, Failure)
                    and (cause.kind, cause.origin) == (outcome.kind, outcome.origin)
                    for cause in causes
                ), f"{task.id}: {outcome}, but nothing that it needs has failed so"
        else:
            assert outcome == _expected(model, task), f"{task.id} has a wrong value"


def _expected(model: Model, task: SimTask) -> Value:
    """Return what a task comes to if nothing happens to it, None if it raises."""
    arguments = [argument.outcome for argument in task.arguments]
    if not all(isinstance(argument, int) for argument in arguments):
        return None
    handles = tuple(actor.creation.number for actor in task.handles)
    return model.value(task.number, tuple(arguments), handles)  # type: ignore[arg-type]


def _is_justified(world: World, model: Model, task: SimTask, kind: str) -> bool:
    """Say whether something has happened that makes a task fail like this, by itself."""
    settings, target = world.settings, task.spec.target
    if kind == "raised":
        return any(step[0] in ("raise", "flaky") for step in task.template.steps) and (
            _expected(model, task) is None
        )
    if kind in ("cancelled", "interrupted"):
        return task.cancelled
    if kind == "deadline":
        return task.due < math.inf
    if kind == "timed out":
        return task.template.timeout > 0
    if kind == "out of memory":
        return task.swollen
    if kind == "crashed":
        return task.lost_running + task.lost_unreported > target.max_retries >= 0
    if kind == "actor died":
        return task.actor is not None and task.actor.end not in ("", "released")
    if kind == "actor restarts":
        return task.actor is not None and task.actor.restarts > 0
    if kind == "unstartable":
        return world.most_failed_starts >= START_ATTEMPTS
    if kind == "late":  # where nobody would notice if it waited for ever
        actor = task.actor
        return (
            actor is not None
            and task.template.kind == METHOD
            and actor.creation.template.max_concurrency > 1
        )
    return kind == "deadlock" and settings.cycles
