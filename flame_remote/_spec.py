"""What a call is, once the public face has checked it and packed its arguments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from flame_remote._environment import Environment
from flame_remote._ids import ActorId, ObjectId, TaskId

if TYPE_CHECKING:
    from flame_remote._refs import ObjectRef


class TargetKind(Enum):
    """What the user handed over."""

    FUNCTION = "function"
    ACTOR = "actor"  # a class; the task constructs the instance
    METHOD = "method"  # a call on an instance that exists

    @property
    def needs_own_worker(self) -> bool:
        """Whether calls run in an actor's own process rather than in any worker."""
        return self is not TargetKind.FUNCTION


class Demand(tuple[tuple[str, int], ...]):
    """How much of each resource something takes while it runs, sorted by name.

    Amounts are whole ten-thousandths, so that sums are exact. Hashable: tasks of equal demand
    wait in one queue.
    """

    __slots__ = ()
    UNIT = 10_000

    @classmethod
    def of(cls, amounts: Mapping[str, float]) -> Demand:
        """Build from amounts as users write them, e.g. {"CPU": 0.5}; zero amounts fall away."""
        units = ((name, round(amount * cls.UNIT)) for name, amount in sorted(amounts.items()))
        return cls((name, unit) for name, unit in units if unit)

    @property
    def gpu_units(self) -> int:
        """How much of GPUs, which are taken one by one, unlike other resources."""
        return next((unit for name, unit in self if name == "GPU"), 0)


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """How a Runner wants a target run where each target has instances of its own.

    That is so on a Flame cluster, where a function that a Runner serves has a session of its own,
    as every actor has; engines that share their workers among all functions read none of it.
    `application` is the registered application whose package the workers install, `session_id`
    names the session, new or still open. A function has `min_instances` from the start and at most
    `max_instances`, None for as many as there is room for; an actor always has one. `resources` is
    what each instance takes: CPUs, bytes of memory, GPUs; None for the cluster's default.
    """

    application: str = ""
    session_id: str = ""
    min_instances: int = 0
    max_instances: int | None = None
    resources: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long calls may take, and which of them come first.

    `timeout` is how many seconds a call may run, `deadline` how many it has from the call to its
    end; both None for as many as it takes. `priority` orders calls that wait, the highest first;
    None for that of the task that makes the call, else 0. After `max_calls` calls a process is
    replaced by a fresh one, 0 for never. A call whose process grows by more than `memory_bytes` is
    ended with its process, 0 for no limit.
    """

    timeout: float | None = None
    deadline: float | None = None
    priority: int | None = None
    max_calls: int = 0
    memory_bytes: int = 0


UNLIMITED: Final = CallLimits()


@dataclass(frozen=True, slots=True)
class Restarts:
    """What becomes of an actor whose process dies unexpectedly.

    It is constructed again up to `max_restarts` times, -1 for as often as it takes. A call that had
    begun is started again if its class says so: up to `max_task_retries` times, -1 for any. Its
    state is kept after each `checkpoint_every` calls, 0 for never.
    """

    max_restarts: int = 0
    max_task_retries: int = 0
    checkpoint_every: int = 0


MORTAL: Final = Restarts()


@dataclass(frozen=True, slots=True)
class Naming:
    """The name of an actor, unique in its namespace while the actor lives.

    `handle` is what `get_actor` makes a handle of, beside the ref. A `detached` actor lives on when
    its last handle is gone.
    """

    name: str
    namespace: str
    handle: bytes
    detached: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """User code that can be called remotely, exported once. Shared by all calls of it.

    `id` is derived from the content, so the same function exported by two processes is one
    target. `code` is a pickle of the function or class; empty for a method, whose instance is
    already there. `refs` are refs that the code closes over; they live as long as the target.
    `policy` is None unless a Runner made the target. `groups` are the concurrency groups of an
    actor, each with how many of its calls run at a time; `max_concurrency` is of all calls then.
    `group` is the one that a method is called in, "" for none.
    """

    id: int
    kind: TargetKind
    name: str
    code: bytes
    demand: Demand
    max_retries: int
    max_concurrency: int = 1
    method: str = ""
    refs: tuple[ObjectRef[Any], ...] = field(default=())
    policy: ServicePolicy | None = None
    limits: CallLimits = UNLIMITED
    environment: Environment | None = None  # None for that of the main program
    restarts: Restarts = MORTAL
    # Of a method: as Restarts.max_task_retries, None for what the class of the instance says.
    max_task_retries: int | None = None
    groups: tuple[tuple[str, int], ...] = ()
    group: str = ""
    # As Engine.target_events: what tells the engine how long the code is needed.
    events: deque[int] | None = None

    @property
    def needs_process_alone(self) -> bool:
        """Whether no other call may run in the process while one of these waits in it.

        So it is with what belongs to the process: the GPUs that it sees, the memory that it takes.
        """
        return bool(self.limits.memory_bytes or self.demand.gpu_units)

    def __post_init__(self) -> None:
        if self.events is not None:
            self.events.append(-self.id)

    def __del__(self) -> None:
        # Runs at any moment in any thread, even inside the engine: append, and nothing else.
        events = getattr(self, "events", None)
        if events is not None:
            events.append(self.id)


@dataclass(slots=True, eq=False)
class TaskSpec:
    """One call. Never changed once made.

    `payload` holds the arguments: a tuple of atoms (positional arguments as they are), or bytes
    (a pickle of `(args, kwargs)`). `dependencies` pairs the place of an argument (position or
    keyword) with the object that belongs there; the place "*" stands for all arguments.
    `nested` are refs inside the arguments that stay refs. `parent` is the task that made the
    call, 0 outside any task. `actor` is the instance that a method is called on, else 0.
    `returns` are the objects that the value is taken apart into; None if it is one, as it is, whose
    id is the task's.
    """

    id: TaskId
    target: Target
    payload: tuple[Any, ...] | bytes
    dependencies: tuple[tuple[int | str, ObjectId], ...] = ()
    nested: tuple[ObjectId, ...] = ()
    actor: ActorId = 0
    parent: TaskId = 0
    returns: tuple[ObjectId, ...] | None = None
