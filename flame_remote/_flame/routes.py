"""Which session a call goes to."""

from __future__ import annotations

from typing import Final, NoReturn

from flame_remote._spec import UNLIMITED, CallLimits, Demand, Target, TargetKind, TaskSpec
from flame_remote.exceptions import InvalidOptionError

from .batching import Batcher, Pace
from .lanes import Lane, SessionPlan
from .program import Program

_ACTOR_TASKS: Final = 2  # Flame tasks of an actor under way: one runs, one waits for it
_GIB: Final = 1 << 30
_SMALL: Final = 128 << 20  # what an instance without a CPU asks for: nothing at all is never given


class Routes:
    """The sessions of one engine, made as they are needed. Belongs to the engine's thread.

    Functions that take the same resources share a session: a process of its own, which takes a
    second to start, is nothing that a function needs. An actor has one, with one instance, and so
    has a service of a Runner, as its policy says.
    """

    def __init__(self, program: Program, pace: Pace, grace: float = 0.0) -> None:
        """`grace` is how long calls of functions are kept here, in seconds; see Lane."""
        self._program = program
        self._pace = pace
        self._grace = grace
        self._functions: dict[SessionPlan, Lane] = {}

    def lane_of(self, what: TaskSpec | tuple[str, str, int]) -> Lane:
        """Return the lane for a call, or a new one to an actor of somebody else's."""
        if isinstance(what, tuple):
            session_id, application, concurrency = what
            lane = self._lane_of_actor(SessionPlan(session_id, application, 1, 1), concurrency)
            lane.is_begun = lane.is_known = True
            return lane
        if what.target.kind is TargetKind.ACTOR:
            return self._lane_of_actor(self._plan_of_actor(what), what.target.max_concurrency)
        return self.lane_of_function(what.target)

    def lane_of_function(self, target: Target) -> Lane:
        """Return the lane for all calls of a function."""
        plan = self._plan_of(target)
        lane = self._functions.get(plan)
        if lane is None:
            lane = self._functions[plan] = self._new_lane(plan)
        return lane

    def forget(self, target: Target) -> Lane | None:
        """Make the next call of a service begin a new session; return the lane of the last one."""
        return self._functions.pop(self._plan_of(target), None)

    def _plan_of(self, target: Target) -> SessionPlan:
        policy = target.policy
        if policy is not None:
            application = policy.application or self._program.application
            return SessionPlan(
                policy.session_id or f"{application}-{target.id:x}",
                application,
                policy.min_instances,
                policy.max_instances,
                policy.resources,
            )
        resources = resources_of(target.demand)
        suffix = "-".join(map(str, resources)) if resources is not None else "default"
        application = self._program.application
        return SessionPlan(f"{application}-{suffix}", application, 0, None, resources)

    def _plan_of_actor(self, spec: TaskSpec) -> SessionPlan:
        policy = spec.target.policy
        if policy is not None and policy.application:
            session_id = policy.session_id or f"{policy.application}-{spec.id:x}"
            return SessionPlan(session_id, policy.application, 1, 1, policy.resources)
        application = self._program.actors
        resources = resources_of(spec.target.demand)
        return SessionPlan(f"{application}-{spec.id:x}", application, 1, 1, resources)

    def _lane_of_actor(self, plan: SessionPlan, concurrency: int) -> Lane:
        batcher = Batcher(self._pace, instances=1, most_under_way=_ACTOR_TASKS)
        return Lane(plan, batcher, ordered=True, concurrency=concurrency)

    def _new_lane(self, plan: SessionPlan) -> Lane:
        instances = self._program.instances
        if plan.max_instances is not None:
            instances = min(instances, plan.max_instances)
        batcher = Batcher(self._pace, instances=instances)
        return Lane(plan, batcher, ordered=False, grace=self._grace)


def resources_of(demand: Demand) -> tuple[int, int, int] | None:
    """Return a session's resources for what a target takes; None for a plain function's one CPU.

    They are CPUs, bytes of memory and GPUs. Flame counts whole CPUs: fractions are rounded up.
    Memory is asked for in bytes, as `resources={"memory": 1 << 30}`.
    """
    amounts = {name: unit / Demand.UNIT for name, unit in demand}
    cpus = -int(-amounts.pop("CPU", 0.0) // 1)
    gpus = -int(-amounts.pop("GPU", 0.0) // 1)
    memory = int(amounts.pop("memory", 0.0))
    if (cpus, gpus, memory) == (1, 0, 0):
        return None
    if not memory:
        memory = cpus * _GIB if cpus else _SMALL
    return cpus, memory, gpus


def refuse_restarts(name: str) -> NoReturn:
    """Raise InvalidOptionError: a cluster says that a session has failed, and starts it no more."""
    raise InvalidOptionError(
        f"{name}: actors on a cluster are not started again: max_restarts, max_task_retries and "
        "checkpoint_every are for an engine on this machine"
    )


# Memory is counted there, among the session's resources, and nothing keeps a task to it.
_REFUSED: Final = {
    "priority": "calls of a Flame cluster's session run in the order in which they came",
    "max_calls": "a Flame cluster does not replace the process of an instance that is used",
}


def refuse_limits(name: str, limits: CallLimits) -> None:
    """Raise InvalidOptionError for those limits of a call that a cluster cannot keep to."""
    for option, reason in _REFUSED.items():
        if getattr(limits, option) != getattr(UNLIMITED, option):
            raise InvalidOptionError(
                f"{name}: {option} needs an engine on this machine: {reason}; leave it out"
            )
