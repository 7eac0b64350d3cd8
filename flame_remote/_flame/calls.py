"""A call that an engine has taken on, from its submission to its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from flame_remote._ids import ObjectId
from flame_remote._spec import TargetKind, TaskSpec

if TYPE_CHECKING:
    from .lanes import Lane


class CallState(Enum):
    """How far a call is."""

    WAITING = "waiting"  # for objects that it takes as arguments
    QUEUED = "queued"  # for room in its session
    SENT = "sent"  # to the cluster
    HERE = "here"  # runs in this process, on top of who waits for it
    ENDED = "ended"


class Step(Enum):
    """What happens to a call."""

    ARGUMENTS_ARRIVED = "arguments arrived"
    SENT = "sent"
    TAKEN = "taken to be run here"
    CAME_BACK = "came back"  # its worker was lost, and a retry is left; or it was claimed back
    ENDED = "ended"  # with a value, an error, or because it was cancelled


TRANSITIONS: Final[Mapping[tuple[CallState, Step], CallState]] = {
    (CallState.WAITING, Step.ARGUMENTS_ARRIVED): CallState.QUEUED,
    (CallState.QUEUED, Step.SENT): CallState.SENT,
    (CallState.QUEUED, Step.TAKEN): CallState.HERE,
    (CallState.SENT, Step.CAME_BACK): CallState.QUEUED,
    (CallState.WAITING, Step.ENDED): CallState.ENDED,
    (CallState.QUEUED, Step.ENDED): CallState.ENDED,
    (CallState.SENT, Step.ENDED): CallState.ENDED,
    (CallState.HERE, Step.ENDED): CallState.ENDED,
}


class Call:
    """One call. Belongs to the engine's thread."""

    __slots__ = ("alone", "attempts", "lane", "missing", "size", "spec", "state")

    def __init__(self, spec: TaskSpec, lane: Lane) -> None:
        self.spec = spec
        self.lane = lane
        self.state = CallState.WAITING
        self.missing: set[ObjectId] = set()  # arguments that are not there yet
        self.attempts = 0  # how often its process died while nobody else ran there
        self.size = 0  # bytes that travel in the message; known once it is queued
        self.alone = False  # shares no batch: it must not fail, or be run again, for another

    @property
    def name(self) -> str:
        """The name of its target."""
        return self.spec.target.name

    @property
    def target_id(self) -> int:
        """The number of its target."""
        return self.spec.target.id

    @property
    def objects(self) -> tuple[ObjectId, ...]:
        """The objects that it makes, its own the last."""
        return (*(self.spec.returns or ()), self.spec.id)

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may be started again when its process dies."""
        retries = self.spec.target.max_retries
        return retries < 0 or self.attempts <= retries

    def step(self, step: Step) -> None:
        """Note what happened. Raises KeyError, a bug, for what cannot happen now."""
        self.state = TRANSITIONS[self.state, step]

    def held(self) -> list[ObjectId]:
        """Return the objects that have to live until the call has ended, its own among them."""
        spec = self.spec
        held = [*self.objects, *(object_id for _, object_id in spec.dependencies), *spec.nested]
        held += [ref._id for ref in spec.target.refs]
        if spec.actor:
            held.append(spec.actor)
        return held

    def passed_on(self) -> list[ObjectId]:
        """Return the refs that the worker gets, as refs or inside values."""
        spec = self.spec
        passed = [*spec.nested, *(ref._id for ref in spec.target.refs)]
        return [*passed, *(object_id for _, object_id in spec.dependencies)]

    @property
    def constructs(self) -> bool:
        """Whether it makes an actor's instance."""
        return self.spec.target.kind is TargetKind.ACTOR
