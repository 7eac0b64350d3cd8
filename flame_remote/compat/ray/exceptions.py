"""Ray's names for errors. What flame raises is caught under them: most are the same classes.

Those that stand below as classes of their own are never raised here: what they tell of cannot
happen, or is reported as another error (see docs/ray.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flame_remote import exceptions as _flame
from flame_remote._foreign_names import error_names as _error_names

RayError = _flame.FlameError
RayTaskError = _flame.TaskError
TaskCancelledError = _flame.TaskCancelledError
GetTimeoutError = _flame.GetTimeoutError
WorkerCrashedError = _flame.WorkerCrashedError
RayActorError = _flame.ActorError
ActorDiedError = _flame.ActorDiedError
ActorAlreadyExistsError = _flame.ActorAlreadyExistsError
PendingCallsLimitExceeded = _flame.PendingCallsLimitError
OutOfMemoryError = _flame.OutOfMemoryError
ActorHandleNotFoundError = _flame.SessionEndedError
ObjectLostError = _flame.ObjectLostError
ObjectFreedError = _flame.ObjectFreedError
ObjectStoreFullError = _flame.StoreFullError
OutOfDiskError = _flame.SpillError
RaySystemError = _flame.EngineError
TaskUnschedulableError = _flame.UnschedulableError
ActorUnschedulableError = _flame.UnschedulableError
UnserializableException = _flame.DeserializationError
RuntimeEnvSetupError = _flame.WorkerStartError
RpcError = _flame.ClusterError


class ActorUnavailableError(RayActorError):
    """Never raised: an actor is on this machine, or has died."""


class OwnerDiedError(ObjectLostError):
    """Never raised: values do not go with the process that made them."""


class ObjectFetchTimedOutError(ObjectLostError):
    """Never raised: values are on this machine."""


class ObjectReconstructionFailedError(ObjectLostError):
    """Never raised: a value that is gone for good is an ObjectLostError."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """Never raised."""


class NodeDiedError(RayError):
    """Never raised: there is one node."""


class LocalRayletDiedError(RayError):
    """Never raised: there is no raylet."""


class AuthenticationError(RayError):
    """Never raised by the engines of this machine: they open no port."""


class CrossLanguageError(RayError):
    """Never raised: tasks are in Python."""


class UserCodeException(RayError):
    """Never raised."""


class AsyncioActorExit(RayError):
    """Never raised."""


class ObjectRefStreamEndOfStreamError(RayError):
    """Never raised: a generator's end is StopIteration."""


class StreamingGeneratorReplayInconsistentError(RayError):
    """Never raised: generators are not started again."""


class OufOfBandObjectRefSerializationException(RayError):
    """Never raised: a ref that was pickled by hand is kept until the session ends."""


class PlasmaObjectNotAvailable(RayError):
    """Never raised."""


class TaskPlacementGroupRemoved(RayError):
    """Never raised: there are no placement groups."""


class ActorPlacementGroupRemoved(RayError):
    """Never raised: there are no placement groups."""


# --- what Ray's errors tell beside ----------------------------------------------------------------


def _cause(error: BaseException) -> BaseException | None:
    """Return the user's exception by itself."""
    if not isinstance(error, RayTaskError):
        raise AttributeError(f"{type(error).__name__!r} object has no attribute 'cause'")
    bases = type(error).__bases__
    if len(bases) < 2:  # the two types could not be combined
        return error.__cause__
    # Its attributes without those that say which task raised it.
    plain: Any = bases[-1].__new__(bases[-1], *error.args)
    told = {"function_name", "remote_traceback", "task_id", "pid", "__notes__"}
    plain.__dict__.update(
        (name, value)
        for name, value in vars(error).items()
        if name not in told and not name.startswith("_flame_")
    )
    plain.args = error.args
    cause: BaseException = plain.with_traceback(error.__traceback__)
    return cause


def _instance_of_cause(error: BaseException) -> Callable[[], BaseException]:
    return lambda: error


_error_names.update(
    cause=_cause,
    as_instanceof_cause=_instance_of_cause,
    traceback_str=lambda error: error.remote_traceback,
    proctitle=lambda error: f"ray::{error.function_name}",
    ip=lambda error: "127.0.0.1",
    actor_repr=lambda error: None,
    actor_id=lambda error: None,
    actor_init_failed=lambda error: False,
    preempted=lambda error: False,
    error_msg=str,
)
