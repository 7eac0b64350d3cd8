"""The client of a Flame cluster: applications, sessions, tasks, objects, configuration.

    from flame_remote import core

    session = core.create_session("app")               # of an application that is registered
    print(session.invoke(b"input", timeout=60))        # one task, and its output
    futures = [session.run(data) for data in inputs]   # many at once
    session.close()

    ref = core.put_object("app/shared", value)         # into the object cache
    value = core.get_object(ref)

Which cluster: FLAME_ENDPOINT and FLAME_CACHE_ENDPOINT, or ~/.flame/flame.yaml, or this machine.
Errors are ClusterErrors with a `code`. Everything can be used from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame_remote.exceptions import (
        ClusterError,
        ClusterTimeoutError,
        ConnectError,
        FlameError,
        FlameErrorCode,
    )

    from .application import (
        Application,
        ApplicationAttributes,
        ApplicationSchema,
        ApplicationState,
        Shim,
    )
    from .applications import (
        get_application,
        list_applications,
        register_application,
        unregister_application,
        update_application,
    )
    from .connection import Connection, get_connection
    from .context import (
        DEFAULT_FLAME_CACHE_ENDPOINT,
        DEFAULT_FLAME_CONF,
        DEFAULT_FLAME_ENDPOINT,
        FlameContext,
    )
    from .events import Event
    from .nodes import (
        Executor,
        ExecutorState,
        Node,
        NodeState,
        get_node,
        list_executors,
        list_nodes,
    )
    from .object_bytes import download_object, get_bytes, put_bytes, upload_object
    from .object_key import ObjectKey
    from .object_ref import ObjectRef
    from .objects import (
        ObjectCount,
        count_objects,
        delete_many,
        delete_object,
        delete_objects,
        get_object,
        patch_object,
        put_object,
        update_object,
    )
    from .resources import ResourceRequirement
    from .session import Session, SessionAttributes, SessionState
    from .sessions import (
        close_session,
        create_session,
        delete_session,
        get_session,
        list_sessions,
        open_session,
        short_name,
    )
    from .statuses import MESSAGE_LIMIT_BYTES
    from .tasks import Task, TaskState

# Where each public name is. They are imported when first used: gRPC and Arrow take long.
_MODULES = {
    "ClusterError": "flame_remote.exceptions",
    "ClusterTimeoutError": "flame_remote.exceptions",
    "ConnectError": "flame_remote.exceptions",
    "FlameError": "flame_remote.exceptions",
    "FlameErrorCode": "flame_remote.exceptions",
    "Application": ".application",
    "ApplicationAttributes": ".application",
    "ApplicationSchema": ".application",
    "ApplicationState": ".application",
    "Shim": ".application",
    "get_application": ".applications",
    "list_applications": ".applications",
    "register_application": ".applications",
    "unregister_application": ".applications",
    "update_application": ".applications",
    "Connection": ".connection",
    "get_connection": ".connection",
    "DEFAULT_FLAME_CACHE_ENDPOINT": ".context",
    "DEFAULT_FLAME_CONF": ".context",
    "DEFAULT_FLAME_ENDPOINT": ".context",
    "FlameContext": ".context",
    "Event": ".events",
    "Executor": ".nodes",
    "ExecutorState": ".nodes",
    "Node": ".nodes",
    "NodeState": ".nodes",
    "get_node": ".nodes",
    "list_executors": ".nodes",
    "list_nodes": ".nodes",
    "download_object": ".object_bytes",
    "get_bytes": ".object_bytes",
    "put_bytes": ".object_bytes",
    "upload_object": ".object_bytes",
    "ObjectKey": ".object_key",
    "ObjectRef": ".object_ref",
    "ObjectCount": ".objects",
    "count_objects": ".objects",
    "delete_many": ".objects",
    "delete_object": ".objects",
    "delete_objects": ".objects",
    "get_object": ".objects",
    "patch_object": ".objects",
    "put_object": ".objects",
    "update_object": ".objects",
    "ResourceRequirement": ".resources",
    "Session": ".session",
    "SessionAttributes": ".session",
    "SessionState": ".session",
    "close_session": ".sessions",
    "create_session": ".sessions",
    "delete_session": ".sessions",
    "get_session": ".sessions",
    "list_sessions": ".sessions",
    "open_session": ".sessions",
    "short_name": ".sessions",
    "MESSAGE_LIMIT_BYTES": ".statuses",
    "Task": ".tasks",
    "TaskState": ".tasks",
}

__all__ = [
    "DEFAULT_FLAME_CACHE_ENDPOINT",
    "DEFAULT_FLAME_CONF",
    "DEFAULT_FLAME_ENDPOINT",
    "MESSAGE_LIMIT_BYTES",
    "Application",
    "ApplicationAttributes",
    "ApplicationSchema",
    "ApplicationState",
    "ClusterError",
    "ClusterTimeoutError",
    "ConnectError",
    "Connection",
    "Event",
    "Executor",
    "ExecutorState",
    "FlameContext",
    "FlameError",
    "FlameErrorCode",
    "Node",
    "NodeState",
    "ObjectCount",
    "ObjectKey",
    "ObjectRef",
    "ResourceRequirement",
    "Session",
    "SessionAttributes",
    "SessionState",
    "Shim",
    "Task",
    "TaskState",
    "close_session",
    "count_objects",
    "create_session",
    "delete_many",
    "delete_object",
    "delete_objects",
    "delete_session",
    "download_object",
    "get_application",
    "get_bytes",
    "get_connection",
    "get_node",
    "get_object",
    "get_session",
    "list_applications",
    "list_executors",
    "list_nodes",
    "list_sessions",
    "open_session",
    "patch_object",
    "put_bytes",
    "put_object",
    "register_application",
    "short_name",
    "unregister_application",
    "update_application",
    "update_object",
    "upload_object",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
