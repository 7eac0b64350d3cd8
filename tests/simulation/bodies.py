"""Runs the steps of a body; the same code for tasks and for threads of the driver."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

from .scenario import Step
from .tasks import Failure, Frame, Outcome, SimTask

if TYPE_CHECKING:
    from .world import World

Wait = tuple[list[SimTask], str, float]  # tasks, mode, time limit
_MODULUS: Final = (1 << 61) - 1


class Crash(Exception):
    """The process ends here."""


def mix(value: int, other: int) -> int:
    """Combine two values; the order matters."""
    return (value * 1_000_003 + other + 1) % _MODULUS


def run(
    world: World, frame: Frame, steps: Sequence[Step], start: int
) -> Generator[Any, Any, Outcome]:
    """Run a body. Yields seconds to sleep, or what to wait for; is sent how a wait has ended."""
    task, made = frame.task, frame.made
    value = start
    for step in steps:
        kind = step[0]
        if kind == "work":
            yield step[1]
        elif kind == "call":
            argument = chosen(made, step[3] - 1) if step[3] else None
            world.call(frame, step[1], step[2], argument, share=step[4])
        elif kind == "get":
            wanted = made[: len(made) - step[1]][-step[2] :]
            if wanted:
                mode, limit = world.mode_of(frame, step[3])
                ended = yield wanted, mode, limit
                if step[3] == "strict":
                    outcomes = [child.outcome for child in wanted]
                    for outcome in outcomes:
                        if isinstance(outcome, Failure):
                            return outcome
                    for outcome in outcomes:
                        if outcome is None:
                            assert task is not None
                            return Failure(ended, task.id)
                        assert isinstance(outcome, int)
                        value = mix(value, outcome)
        elif kind == "method":
            actor = chosen(frame.handles, step[1])
            if actor is not None:
                argument = chosen(made, step[4] - 1) if step[4] else None
                world.call_method(frame, actor, step[2], step[3], argument, share=step[5])
        elif kind == "actor":
            world.make_actor(frame, step[1])
        elif kind == "post":
            if (posted := chosen(made, step[1])) is not None:
                world.post(frame, posted)
        elif kind == "board":
            if (posted := chosen(world.board, step[1])) is not None:
                yield [posted], *world.mode_of(frame, step[2])
        elif kind == "cancel":
            if (victim := chosen(made, step[1])) is not None:
                world.cancel(frame, victim, force=step[2])
        elif kind == "kill":
            if (actor := chosen(frame.handles, step[1])) is not None:
                world.kill(frame, actor, may_restart=len(step) > 2)
        elif kind == "drop":
            if (actor := chosen(frame.own, step[1])) is not None:
                frame.own.remove(actor)
                frame.handles.remove(actor)
                world.drop(frame, actor)
        elif kind == "exit":
            assert frame.worker is not None
            frame.worker.leave()
            return value
        elif kind == "crash":
            assert task is not None
            if task.starts <= step[1]:
                raise Crash
        elif kind == "flaky":
            assert task is not None
            if task.failed_attempts < step[1]:
                return Failure("raised", task.id)
        elif kind == "raise":
            assert task is not None
            return Failure("raised", task.id)
    return value


def chosen(items: Sequence[Any], back: int) -> Any:
    """Return the item `back` before the last, None if there is none."""
    return items[-1 - back] if -1 < back < len(items) else None
