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

    init(engine=None, *, num_cpus, num_gpus, memory, resources, store_bytes, runtime_env,
         ignore_reinit_error)
        start with settings; usable as `with flame.init(...):`. engine is "embedded" (this machine's
        cores, the default) or "inline" (the calling thread, for debuggers); or set FLAME_ENGINE
    shutdown(), is_initialized()
    remote(target=None, **options)                make a function or class remote
        options: num_cpus, num_gpus, memory, resources, max_retries, name, runtime_env, ...;
        max_concurrency for classes
    get(refs, *, timeout=None, readonly=False)    one ref; a list, tuple, dict or iterable of refs
    put(value)                                    store a value once, for many tasks
    wait(refs, *, num_returns=1, timeout=None)    (ready, rest)
    as_completed(refs, *, timeout=None)           iterate over refs as their tasks end
    progress(refs, *, label="", timeout=None)     as get, with a bar on the terminal
    Queue(maxsize=0)                              shared by tasks and actors
    Lock(), Semaphore(n), Event()                 as those of threading, for tasks and actors
    ActorPool(handles)                            hands work to whichever is idle
    Executor(max_workers=None)                    a concurrent.futures.Executor
    cancel(ref, *, force=False, recursive=True)   end a task, and what it has started
    kill(handle, *, no_restart=True)              end an actor
    exit_actor()                                  end the actor that this code is a method of
    get_actor(name, namespace=None)               a handle of C.options(name=...).remote()
    free(refs)                                    let go of values that refs are left to
    Cache(folder, max_bytes, ignore)              keeps results on disk: remote(cache=...)
    WeakRef(ref)                                  knows an object and does not keep it
    scope(*, deadline=None, on_error="cancel")    a block that leaves no call behind
    explain(ref)                                  why a result is not there, in a sentence
    get_gpu_ids()                                 the GPUs that this code may use
    context()                                     in which call, on which actor, this code runs
    state.tasks(), .actors(), .objects(), .workers()   what there is now
    timeline(path)                                when which call ran, for a trace viewer
    save_failed_calls(folder), replay(path)       make a call that failed again, under pdb

An ObjectRef has get(timeout), result(timeout), done(), exception(timeout), cancel(),
add_done_callback(f), future(), proxy(), weak(); and `await ref` works. Refs at top level of the
arguments are replaced by their values, refs inside containers stay refs.

`class C(flame.Actor)` with `@flame.method` on its methods is the form of a remote class that type
checkers follow. All errors are FlameError; an error of your own code is raised as an instance of
TaskError and of its own type.
"""

from __future__ import annotations

import typing as _typing

from flame_remote._actor import ActorClass
from flame_remote._api import cancel, exit_actor, free, get, kill, put, wait
from flame_remote._decorator import remote
from flame_remote._handle import ActorHandle
from flame_remote._named_actors import get_actor
from flame_remote._refs import ObjectRef
from flame_remote._remote import RemoteFunction
from flame_remote._retry import Retry
from flame_remote._session import Session, init, is_initialized, shutdown
from flame_remote._typed_actor import Actor, method
from flame_remote.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorError,
    ActorNotFoundError,
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    DeadlineExceededError,
    DeadlockError,
    DeserializationError,
    EngineClosedError,
    EngineError,
    FlameError,
    ForkedError,
    GetTimeoutError,
    InvalidOptionError,
    ObjectError,
    ObjectFreedError,
    ObjectLostError,
    OutOfMemoryError,
    PendingCallsLimitError,
    RefMisuseError,
    ReplayError,
    ReturnCountError,
    SerializationError,
    SessionEndedError,
    SpillError,
    StoreFullError,
    TaskCancelledError,
    TaskDeadlineError,
    TaskError,
    TaskTimeoutError,
    UnschedulableError,
    WorkerCrashedError,
    WorkerStartError,
)

__version__ = "0.1.0"

ObjectFuture = ObjectRef

__all__ = [
    "Actor",
    "ActorAlreadyExistsError",
    "ActorClass",
    "ActorDiedError",
    "ActorError",
    "ActorHandle",
    "ActorNotFoundError",
    "ActorPool",
    "AsCompleted",
    "Cache",
    "ClusterError",
    "ClusterTimeoutError",
    "ConnectError",
    "Context",
    "DeadlineExceededError",
    "DeadlockError",
    "DeserializationError",
    "EngineClosedError",
    "EngineError",
    "Event",
    "Executor",
    "FlameError",
    "ForkedError",
    "GetTimeoutError",
    "InvalidOptionError",
    "Lock",
    "ObjectError",
    "ObjectFreedError",
    "ObjectFuture",
    "ObjectLostError",
    "ObjectRef",
    "ObjectRefGenerator",
    "OutOfMemoryError",
    "PendingCallsLimitError",
    "Queue",
    "RefMisuseError",
    "RemoteFunction",
    "ReplayError",
    "Retry",
    "ReturnCountError",
    "Scope",
    "Semaphore",
    "SerializationError",
    "Session",
    "SessionEndedError",
    "SpillError",
    "StoreFullError",
    "TaskCancelledError",
    "TaskDeadlineError",
    "TaskError",
    "TaskTimeoutError",
    "UnschedulableError",
    "WeakRef",
    "WorkerCrashedError",
    "WorkerStartError",
    "as_completed",
    "cancel",
    "context",
    "exit_actor",
    "explain",
    "free",
    "get",
    "get_actor",
    "get_gpu_ids",
    "init",
    "is_initialized",
    "kill",
    "method",
    "progress",
    "put",
    "remote",
    "replay",
    "save_failed_calls",
    "scope",
    "shutdown",
    "state",
    "timeline",
    "wait",
]

if _typing.TYPE_CHECKING:
    from flame_remote import state
    from flame_remote._actor_pool import ActorPool
    from flame_remote._as_completed import AsCompleted, as_completed
    from flame_remote._cache import Cache
    from flame_remote._executor import Executor
    from flame_remote._knowing import Context, context, explain, get_gpu_ids, timeline
    from flame_remote._progress import progress
    from flame_remote._queue import Queue
    from flame_remote._replay import replay, save_failed_calls
    from flame_remote._scope import Scope, scope
    from flame_remote._stream import ObjectRefGenerator
    from flame_remote._sync import Event, Lock, Semaphore
    from flame_remote._weak import WeakRef

# What few programs need, or what costs much to import, and where it is.
_LATER: _typing.Final = {
    "ActorPool": "_actor_pool",
    "AsCompleted": "_as_completed",
    "Queue": "_queue",
    "Event": "_sync",
    "Lock": "_sync",
    "Semaphore": "_sync",
    "as_completed": "_as_completed",
    "Cache": "_cache",
    "WeakRef": "_weak",
    "Context": "_knowing",
    "Executor": "_executor",  # concurrent.futures costs more than all the rest
    "ObjectRefGenerator": "_stream",
    "Scope": "_scope",
    "context": "_knowing",
    "explain": "_knowing",
    "get_gpu_ids": "_knowing",
    "progress": "_progress",
    "replay": "_replay",
    "save_failed_calls": "_replay",
    "scope": "_scope",
    "timeline": "_knowing",
}


def __getattr__(name: str) -> _typing.Any:
    """Import what few programs need when it is asked for."""
    import importlib

    if name == "state":
        return importlib.import_module("flame_remote.state")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flame_remote.{_LATER[name]}"), name)
    globals()[name] = value
    return value
