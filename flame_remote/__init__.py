"""flame_remote: run your own Python functions and classes on all cores, or on a Flame cluster.

    import flame_remote as flame

    @flame.remote                                 # or @flame.remote(num_cpus=2, max_retries=0)
    def area(radius): ...

    @flame.remote
    class Counter:
        def __init__(self, start=0): ...
        def add(self, n): ...

    ref = area.remote(3)                          # starts a call on a worker, returns at once
    flame.get(ref)                                # its value, or its own exception
    area(3)                                       # still the function: runs here
    area.options(num_cpus=2).remote(3)            # other options for this call
    area.map(range(1_000_000))                    # an iterator of results; also starmap,
                                                  # map_unordered

    counter = Counter.remote(10)                  # one instance in one worker, called in order
    flame.get(counter.add.remote(1))
    counter.add.remote(ref)                       # a ref as an argument: its value arrives

Nothing has to be started or configured; the first call starts what is needed.

    init(engine=None, *, num_cpus, num_gpus, resources, store_bytes, ignore_reinit_error)
        start with settings; usable as `with flame.init(...):`. engine is "embedded" (this machine's
        cores, the default) or "inline" (the calling thread, for debuggers); or set FLAME_ENGINE
    shutdown(), is_initialized()
    remote(target=None, **options)                make a function or class remote
        options: num_cpus, num_gpus, resources, max_retries, name; max_concurrency for classes
    get(refs, *, timeout=None)                    one ref; a list, tuple, dict or iterable of refs
    put(value)                                    store a value once, for many tasks
    wait(refs, *, num_returns=1, timeout=None)    (ready, rest)
    as_completed(refs, *, timeout=None)           iterate over refs as their tasks end
    Queue(maxsize=0)                              shared by tasks and actors
    ActorPool(handles)                            hands work to whichever is idle
    Executor(max_workers=None)                    a concurrent.futures.Executor
    cancel(ref, *, force=False)                   end a task
    kill(handle)                                  end an actor

An ObjectRef has get(timeout), result(timeout), done(), exception(timeout), cancel(),
add_done_callback(f), future(), proxy(); and `await ref` works. Refs at top level of a call's
arguments are replaced by their values, refs inside containers stay refs.

`class C(flame.Actor)` with `@flame.method` on its methods is the form of a remote class that type
checkers follow. All errors are FlameError; an error of your own code is raised as an instance of
TaskError and of its own type.
"""

from __future__ import annotations

import typing as _typing

from flame_remote._actor import ActorClass
from flame_remote._actor_pool import ActorPool
from flame_remote._api import cancel, get, kill, put, wait
from flame_remote._as_completed import AsCompleted, as_completed
from flame_remote._handle import ActorHandle
from flame_remote._queue import Queue
from flame_remote._refs import ObjectRef
from flame_remote._remote import RemoteFunction, remote
from flame_remote._session import Session, init, is_initialized, shutdown
from flame_remote._typed_actor import Actor, method
from flame_remote.exceptions import (
    ActorDiedError,
    ActorError,
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    DeadlockError,
    DeserializationError,
    EngineClosedError,
    EngineError,
    FlameError,
    ForkedError,
    GetTimeoutError,
    InvalidOptionError,
    ObjectError,
    ObjectLostError,
    RefMisuseError,
    SerializationError,
    SessionEndedError,
    SpillError,
    StoreFullError,
    TaskCancelledError,
    TaskError,
    UnschedulableError,
    WorkerCrashedError,
    WorkerStartError,
)

__version__ = "0.1.0"

ObjectFuture = ObjectRef

__all__ = [
    "Actor",
    "ActorClass",
    "ActorDiedError",
    "ActorError",
    "ActorHandle",
    "ActorPool",
    "AsCompleted",
    "ClusterError",
    "ClusterTimeoutError",
    "ConnectError",
    "DeadlockError",
    "DeserializationError",
    "EngineClosedError",
    "EngineError",
    "Executor",
    "FlameError",
    "ForkedError",
    "GetTimeoutError",
    "InvalidOptionError",
    "ObjectError",
    "ObjectFuture",
    "ObjectLostError",
    "ObjectRef",
    "Queue",
    "RefMisuseError",
    "RemoteFunction",
    "SerializationError",
    "Session",
    "SessionEndedError",
    "SpillError",
    "StoreFullError",
    "TaskCancelledError",
    "TaskError",
    "UnschedulableError",
    "WorkerCrashedError",
    "WorkerStartError",
    "as_completed",
    "cancel",
    "get",
    "init",
    "is_initialized",
    "kill",
    "method",
    "put",
    "remote",
    "shutdown",
    "wait",
]

if _typing.TYPE_CHECKING:
    from flame_remote._executor import Executor


def __getattr__(name: str) -> _typing.Any:
    """Import what few programs need when it is asked for."""
    if name == "Executor":  # concurrent.futures costs more than all the rest
        from flame_remote._executor import Executor

        globals()[name] = Executor
        return Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
