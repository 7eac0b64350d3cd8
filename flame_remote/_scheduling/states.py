"""The states of tasks, workers and actors, and the only ways from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final, TypeVar


class TaskState(IntEnum):
    """Where a task is. A task that has ended is in no table any more; its state stays readable."""

    PENDING = 0  # waits for the objects it takes as arguments
    READY = 1  # waits for a worker
    ASSIGNED = 2  # was sent to a worker, and may have started there
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    RESTING = 6  # an attempt has failed, another one is to come after a pause


class TaskStep(IntEnum):
    """What happens to a task."""

    ARGUMENTS_ARRIVED = 0
    SENT = 1
    CAME_BACK = 2  # unstarted work given back, or its worker was lost and a retry is left
    RETURNED = 3
    RAISED = 4  # or cannot run: an argument failed, its worker was lost for good
    CANCELLED = 5
    RAISED_ONCE = 6  # and may be tried again
    RESTED = 7


TASK_TRANSITIONS: Final[Mapping[tuple[TaskState, TaskStep], TaskState]] = {
    (TaskState.PENDING, TaskStep.ARGUMENTS_ARRIVED): TaskState.READY,
    (TaskState.READY, TaskStep.SENT): TaskState.ASSIGNED,
    (TaskState.ASSIGNED, TaskStep.CAME_BACK): TaskState.READY,
    (TaskState.ASSIGNED, TaskStep.RETURNED): TaskState.SUCCEEDED,
    (TaskState.ASSIGNED, TaskStep.RAISED): TaskState.FAILED,
    (TaskState.ASSIGNED, TaskStep.CANCELLED): TaskState.CANCELLED,
    (TaskState.PENDING, TaskStep.RAISED): TaskState.FAILED,
    (TaskState.PENDING, TaskStep.CANCELLED): TaskState.CANCELLED,
    (TaskState.READY, TaskStep.RAISED): TaskState.FAILED,
    (TaskState.READY, TaskStep.CANCELLED): TaskState.CANCELLED,
    (TaskState.ASSIGNED, TaskStep.RAISED_ONCE): TaskState.RESTING,
    (TaskState.RESTING, TaskStep.RESTED): TaskState.READY,
    (TaskState.RESTING, TaskStep.RAISED): TaskState.FAILED,
    (TaskState.RESTING, TaskStep.CANCELLED): TaskState.CANCELLED,
}

ENDED: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})


class Ending(Enum):
    """Why a task ends without a result of its own."""

    CANCELLED = "cancelled"
    CRASHED = "crashed"  # its worker was lost, no retry is left
    ARGUMENT_FAILED = "argument failed"  # `because` is the task that failed
    ACTOR_DIED = "actor died"  # `because` is the actor
    ACTOR_RESTARTS = "actor restarts"  # it had begun on the actor `because`, whose worker was lost
    UNSTARTABLE = "unstartable"  # no worker process can be started
    TIMED_OUT = "timed out"  # it has run for longer than it may
    DEADLINE = "deadline"  # its own, or that of a call around it
    OUT_OF_MEMORY = "out of memory"  # it took more than it may


# A task that ends like this may have reported something all the same.
STOPPED: Final = frozenset(
    {Ending.CANCELLED, Ending.TIMED_OUT, Ending.DEADLINE, Ending.OUT_OF_MEMORY}
)


class ActorState(IntEnum):
    """Where an actor is."""

    WAITING = 0  # its constructor waits for arguments or resources, the first time or again
    STARTING = 1  # its constructor was sent to a worker of its own
    ALIVE = 2
    LEAVING = 3  # the last handle is gone; queued calls still run
    DEAD = 4


class ActorStep(IntEnum):
    """What happens to an actor."""

    SENT = 0
    CONSTRUCTED = 1
    RELEASED = 2
    LOST = 3  # its worker; a retry of the constructor, or a restart, is left
    ENDED = 4


ACTOR_TRANSITIONS: Final[Mapping[tuple[ActorState, ActorStep], ActorState]] = {
    (ActorState.WAITING, ActorStep.SENT): ActorState.STARTING,
    (ActorState.WAITING, ActorStep.ENDED): ActorState.DEAD,
    (ActorState.STARTING, ActorStep.CONSTRUCTED): ActorState.ALIVE,
    (ActorState.STARTING, ActorStep.LOST): ActorState.WAITING,
    (ActorState.STARTING, ActorStep.ENDED): ActorState.DEAD,
    (ActorState.ALIVE, ActorStep.RELEASED): ActorState.LEAVING,
    (ActorState.ALIVE, ActorStep.LOST): ActorState.WAITING,
    (ActorState.ALIVE, ActorStep.ENDED): ActorState.DEAD,
    (ActorState.LEAVING, ActorStep.LOST): ActorState.WAITING,
    (ActorState.LEAVING, ActorStep.ENDED): ActorState.DEAD,
}

S = TypeVar("S")
X = TypeVar("X")


class InvalidTransition(AssertionError):
    """A step was asked for that the table does not have: a bug in the scheduler or its shell."""

    def __init__(self, state: object, step: object) -> None:
        super().__init__(state, step)

    def __str__(self) -> str:
        return f"{self.args[1]!r} cannot happen in {self.args[0]!r}"


def advance(table: Mapping[tuple[S, X], S], state: S, step: X) -> S:
    """Return the state after `step`. Raises InvalidTransition."""
    try:
        return table[state, step]
    except KeyError:
        raise InvalidTransition(state, step) from None
