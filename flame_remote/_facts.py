"""What engines tell about what they are doing, as plain data for people and programs.

Ids are written as in messages and in the repr of refs: "#12", or "#3.12" if made by worker 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A call that has not ended.

    `kind` is "function", "actor" (the construction of one) or "method". `state` is "waiting" (for
    its arguments), "resting" (until it is tried again), "queued" (for a free slot, or its turn on
    its actor), "starting" (its worker is being started), "sent" (lies in its worker behind another
    call), "running" or "blocked" (in `get` or `wait`). `waits_for` are the calls that keep it from
    going on. `attempt` counts from 1. `pid` is 0 while it is nowhere. `parent` is the call or scope
    that it was made in, "" for the main program.
    """

    id: str
    name: str
    kind: str
    state: str
    pid: int = 0
    actor: str = ""
    parent: str = ""
    attempt: int = 1
    resources: Mapping[str, float] = field(default_factory=dict)
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """An instance that lives, or will. `state` is "waiting", "starting", "alive", "leaving" or
    "restarting".

    `running` counts calls in its process, up to as many as it runs at a time; `queued` the others.
    `namespace` is None if `get_actor` does not find it; else it does, under `name`. `restarts` says
    how often its process has died and it was constructed again.
    """

    id: str
    name: str
    state: str
    pid: int = 0
    running: int = 0
    queued: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    namespace: str | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A value that is kept, or will be. `name` is that of the call that makes it, "" if it was put.

    `kind` is "pending", "small" (rides in messages), "stored" (in shared memory), "spilled" (in a
    file), "failed" (an error in its place) or "actor". It is held by `driver_refs` refs in the
    main program, by so many `workers`, unfinished `tasks` (with what is kept for actors that may be
    restarted, or are detached) and other `values`; `pins` are readers of its bytes. `made_at` is
    the line that made the ref, if FLAME_CREATION_SITES=1 is set.
    """

    id: str
    name: str
    kind: str
    size_bytes: int = 0
    driver_refs: int = 0
    workers: int = 0
    tasks: int = 0
    values: int = 0
    pins: int = 0
    made_at: str = ""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker process. `state` is "starting", "idle", "busy", "blocked" or "ending".

    `task` is what it has started last of what it still has, `calls` how many it has in all,
    `memory_bytes` what it occupies now, shared memory included.
    """

    id: int
    pid: int
    state: str
    actor: str = ""
    task: str = ""
    calls: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    tasks: tuple[TaskInfo, ...] = ()
    actors: tuple[ActorInfo, ...] = ()
    objects: tuple[ObjectInfo, ...] = ()
    workers: tuple[WorkerInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of one call; empty and None stand for what the engine does not know.

    `deadline` is a moment of time.monotonic().
    """

    name: str = ""
    attempt: int | None = None
    actor: str = ""
    actor_name: str = ""
    resources: Mapping[str, float] | None = None
    deadline: float | None = None
