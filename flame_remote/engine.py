"""The seam: what every engine does for the code above it.

Everything above this line (decorators, services, registry, verbs) is the same on every engine;
everything below differs. An engine runs tasks and keeps objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from flame_remote._deadline import Deadline
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._refs import ObjectRef
from flame_remote._spec import CallLimits, Naming, Restarts, Target, TaskSpec
from flame_remote.exceptions import EngineError, InvalidOptionError

if TYPE_CHECKING:
    from flame_remote._engine_scope import EngineScope
    from flame_remote._environment import Environment
    from flame_remote._facts import CallFacts, Snapshot
    from flame_remote._timeline import Timeline
    from flame_remote._wire.packing import Packed
    from flame_remote.core.context import FlameContext


class Engine(ABC):
    """Runs tasks and keeps objects. Every method may be called from any thread."""

    # Names the session in pickled refs; constant.
    session: str
    # Changes of counts: `id` for a ref that died, `-id` for one that was born by unpickling.
    # Any thread appends, finalisers too; the engine takes from the left.
    ref_events: deque[int]
    # Targets with code that were made for this engine: `-id` for a new one, `id` for one that died.
    # As `ref_events`; None where code is kept until the engine ends.
    target_events: deque[int] | None = None
    # Whether `find_same` can find anything.
    compares: bool = False
    # Whether calls go on while their caller does something else; constant.
    runs_ahead: bool = True
    # What calls find around them that do not say it themselves; constant.
    environment: Environment | None = None
    # The GPUs that the code may use which asks, by the names of CUDA_VISIBLE_DEVICES; constant.
    gpus: tuple[str, ...] = ()
    # Whether calls of an actor can be told apart by concurrency groups; constant.
    has_groups: bool = False
    # The cluster that the engine runs on; constant. None where code need not be shipped.
    cluster: FlameContext | None = None

    @abstractmethod
    def new_id(self) -> TaskId:
        """Return an id that this process has not used. Does not block."""

    @abstractmethod
    def current_task(self) -> TaskId:
        """Return the task that the calling code runs in, 0 outside any task."""

    def current_parent(self) -> TaskId:
        """Return what a call made here belongs to: a scope, else a task, else 0."""
        return self.current_task()

    def result_of_task(self) -> ObjectRef[Any] | None:
        """Return a new ref to what the task will return in which the calling code runs.

        None outside any task, and on an engine that does not know it.
        """
        return None

    @abstractmethod
    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        """Raise UnschedulableError if `amounts` can never be met here. Does not block."""

    def check_limits(self, name: str, limits: CallLimits) -> None:  # noqa: B027
        """Raise InvalidOptionError if this engine cannot keep to `limits`. Does not block."""

    def check_environment(self, name: str, environment: Environment) -> None:
        """Raise InvalidOptionError if calls cannot run in that environment. Does not block long."""
        raise InvalidOptionError(
            f"{name}: runtime_env needs an engine on this machine: on a Flame cluster the "
            "environment belongs to the application, see Runner"
        )

    @abstractmethod
    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        """Accept a call and return the ref of its result. Does not wait for anything to run.

        For an actor's construction the ref stands for the instance: while it, or a copy, lives,
        the actor lives. Raises EngineClosedError.
        """

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """As `submit`, of a call whose value is taken apart: return the refs of `spec.returns`.

        Raises InvalidOptionError on an engine that cannot.
        """
        raise InvalidOptionError(
            f"{spec.target.name}: num_returns must be 1 here: this engine keeps what a call returns"
            " as one object"
        )

    def submit_named(self, spec: TaskSpec, naming: Naming) -> ObjectRef[Any]:
        """As `submit`, of an actor that is to be found by a name.

        Raises ActorAlreadyExistsError if the name is taken, and InvalidOptionError on an engine
        that knows no names.
        """
        raise InvalidOptionError(
            f"the actor {naming.name!r} cannot have a name here: a cluster keeps no names of"
            " actors; pass its handle to who needs it"
        )

    def find_actor(self, name: str, namespace: str) -> tuple[ObjectRef[Any], bytes]:
        """Return the actor of that name, and `Naming.handle`. Does not block long.

        Raises ActorNotFoundError, and InvalidOptionError on an engine that knows no names.
        """
        raise InvalidOptionError(
            f"get_actor({name!r}) cannot be used here: a cluster keeps no names of actors"
        )

    @abstractmethod
    def put(self, packed: Packed) -> ObjectRef[Any]:
        """Keep a value. Returns when its bytes are stored, so buffers may change afterwards.

        Raises StoreFullError, SpillError, EngineClosedError.
        """

    @abstractmethod
    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        """Wait for all values, in order; raise the first failure as soon as it is known.

        Blocks. Raises GetTimeoutError, DeadlockError, EngineClosedError, or the task's error.
        """

    @abstractmethod
    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        """Wait until `num_returns` of `refs` have ended, well or badly; return those that have.

        Blocks until then or until the deadline; the set may be smaller only after the deadline.
        """

    @abstractmethod
    def is_done(self, ref: ObjectRef[Any]) -> bool:
        """Say whether the object's task has ended. Does not block."""

    def has_started(self, ref: ObjectRef[Any]) -> bool:
        """Say whether the object's task is known to have begun or ended. Does not block."""
        return self.is_done(ref)

    @abstractmethod
    def on_done(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        """Call `callback(ref)` when the object's task has ended. Does not block."""

    def lend_until(  # noqa: B027  most engines have nothing to lend
        self,
        is_over: Callable[[], bool],
        awaited: Callable[[], Sequence[ObjectRef[Any]]],
        deadline: Deadline,
    ) -> None:
        """Wait here if this thread runs a task that lends its slot while it waits, else not at all.

        For who waits otherwise than in `get` and `wait`, for what done callbacks bring about: asks
        `is_over`, and waits for the refs that are `awaited` then, until it is over, or nothing is
        awaited, or the deadline passes.
        """

    @abstractmethod
    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        """Cancel the task of `ref`; return False if it has already ended.

        With `recursive` also what it has started, and will start before it ends.

        A task that has not started never starts; one that runs gets KeyboardInterrupt, or with
        `force` loses its process.
        """

    @abstractmethod
    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        """End an actor at once; its unfinished calls fail with ActorDiedError.

        With `may_restart` only its process ends, as if it had died. Raises InvalidOptionError where
        actors have no process of their own that could be started again.
        """

    def check_restarts(self, name: str, restarts: Restarts) -> None:  # noqa: B027
        """Raise InvalidOptionError if this engine cannot keep to `restarts`. Does not block."""

    def exit_actor(self) -> NoReturn:
        """End the actor that the calling code is a method of. Raises ActorExit, or EngineError."""
        raise EngineError("exit_actor() is for the methods of an actor: here none is running")

    def handle_died(self) -> None:  # noqa: B027  most engines notice by themselves
        """Told by a finaliser that an actor may have lost its last handle; must not lock."""

    def has_died(self, actor: ActorId) -> bool:
        """Say whether an actor is known to be dead for good. Does not block."""
        return False

    # --- knowing ---

    def open_scope(self, deadline: float | None, *, stops: bool) -> EngineScope:
        """Begin a scope inside the one that the calling code is in.

        `deadline` is a moment of time.monotonic(), to be told to its calls. With `stops` the
        failure of a call that is started directly in it cancels the others.
        """
        raise EngineError("scopes need an engine on this machine: a cluster does not tell who "
                          "started what")  # fmt: skip

    def explain(self, ref: ObjectRef[Any]) -> str:
        """Say in a sentence why the object is not there yet, or what is there instead."""
        if self.is_done(ref):
            return f"{self.describe(ref)}: it is there"
        return f"{self.describe(ref)}; this engine does not tell what it waits for"

    def snapshot(self) -> Snapshot:
        """Return what there is at this moment. Raises EngineError where that is not known."""
        raise EngineError("flame.state needs an engine on this machine; for what is on a cluster "
                          "see flame_remote.core and flmctl")  # fmt: skip

    def call_facts(self) -> CallFacts:
        """Return what is known of the call that the calling code runs in. May block."""
        from flame_remote._facts import CallFacts  # making dataclasses takes milliseconds

        return CallFacts()

    def is_cancelled(self) -> bool:
        """Say whether the call that the calling code runs in is cancelled. Does not block long."""
        return False

    def timeline(self) -> Timeline:
        """Return when calls ran. Raises EngineError where that was not noted."""
        raise EngineError("nothing was noted for a timeline: start with flame.init(timeline=True), "
                          "or set FLAME_TIMELINE=1, on an engine of this machine")  # fmt: skip

    def save_failed_calls(self, folder: str | None) -> None:
        """Write calls that fail from now on into a folder, or no longer. Raises EngineError."""
        raise EngineError("save_failed_calls() needs an engine on this machine, and is for the "
                          "main program")  # fmt: skip

    # --- services of a Runner ---

    def open_service(self, target: Target) -> None:  # noqa: B027  most engines need no telling
        """Told that a service begins, before its first call: `target.policy` says how.

        Blocks until it is known that the service can be had; raises ClusterError if not.
        """

    def close_service(self, target: Target) -> None:  # noqa: B027
        """Told that a service has ended: its target is not called again. Idempotent.

        Waits for calls that run, cancels those that have not begun; raises ClusterError.
        """

    def check_answers(self, what: str) -> None:  # noqa: B027
        """Raise ClusterError if whoever runs the calls does not answer, so that `what` cannot be.

        For those who wait without a limit; blocks for some seconds at most.
        """

    # --- refs ---

    @abstractmethod
    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        """Let go of values though refs to them are left; getting those raises ObjectFreedError.

        The result of a task that has not ended goes when it comes. Bytes that somebody reads stay
        until he has done. Does not block long.
        """

    def find_same(self, packed: Packed, object_id: ObjectId) -> ObjectRef[Any] | None:
        """Return a new ref to an object if it is kept and made of the very bytes of `packed`.

        None if not, or if that cannot be seen at once. Reads all bytes of both.
        """
        return None

    @abstractmethod
    def is_kept(self, object_id: ObjectId) -> bool:
        """Say whether an object is still known, as of all events that are in `ref_events` now."""

    def join(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> None:
        """Wait until all have ended; raise the first failure, as `get`. Fetches no more than it
        must.
        """
        self.get(refs, deadline)

    def reference_to(self, ref: ObjectRef[Any], deadline: Deadline) -> Any:
        """Return what names the object outside this engine; the ref itself where nothing does.

        May block until the object is there.
        """
        return ref

    @abstractmethod
    def describe(self, ref: ObjectRef[Any]) -> str:
        """Say in a few words what the ref stands for and how far it is, for messages and repr."""

    @abstractmethod
    def resources(self) -> Mapping[str, float]:
        """Return how much of each resource the engine has in all, e.g. {"CPU": 2.0}."""

    @abstractmethod
    def close(self) -> None:
        """End the engine and its processes; waiting calls raise EngineClosedError. Idempotent."""
