"""Ray's names over flame_remote, for programs written for Ray Core.

    import flame_remote.compat.ray as ray

Names, arguments and errors are Ray's; what runs is flame. `docs/ray.md` lists every difference.
"""

from __future__ import annotations

from flame_remote import ObjectRef, ObjectRefGenerator, __version__, is_initialized

from . import actor, exceptions, runtime_context, util
from ._functions import DynamicObjectRefGenerator
from ._ids import ActorID, JobID, NodeID, TaskID, UniqueID, WorkerID
from ._remote import remote
from ._starting import (
    available_resources,
    cluster_resources,
    get_gpu_ids,
    init,
    nodes,
    shutdown,
    timeline,
)
from ._verbs import cancel, get, get_actor, kill, put, wait
from .actor import method
from .runtime_context import get_runtime_context

ObjectID = ObjectRef
SCRIPT_MODE, WORKER_MODE, LOCAL_MODE = 0, 1, 2

__all__ = [
    "LOCAL_MODE",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorID",
    "DynamicObjectRefGenerator",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "runtime_context",
    "shutdown",
    "timeline",
    "util",
    "wait",
]
