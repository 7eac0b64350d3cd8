"""`flmctl list` and `flmctl view`: ask the cluster, and show what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flame_remote._proto import frontend_pb2, types_pb2

from . import applications, nodes, sessions
from .settings import Settings
from .tables import table


def show_list(settings: Settings, what: str) -> None:
    """Show all applications, sessions, executors or nodes.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    _LISTS[what](settings)


def _list_applications(settings: Settings) -> None:
    reply = settings.cluster().call("ListApplication", frontend_pb2.ListApplicationRequest())
    found = sorted(reply.applications, key=lambda one: one.metadata.name)
    settings.show(
        [applications.as_json(one) for one in found],
        lambda: table(applications.HEADS, map(applications.row, found)),
    )


def _list_sessions(settings: Settings) -> None:
    reply = settings.cluster().call("ListSession", frontend_pb2.ListSessionRequest())
    found = sorted(reply.sessions, key=sessions.order)
    settings.show(
        [sessions.as_json(one) for one in found],
        lambda: table(sessions.HEADS, map(sessions.row, found)),
    )


def _list_executors(settings: Settings) -> None:
    reply = settings.cluster().call("ListExecutor", frontend_pb2.ListExecutorRequest())
    found = sorted(reply.executors, key=lambda one: (one.spec.node, one.metadata.id))
    settings.show(
        [nodes.executor_as_json(one) for one in found],
        lambda: table(nodes.EXECUTOR_HEADS, map(nodes.executor_row, found)),
    )


def _list_nodes(settings: Settings) -> None:
    reply = settings.cluster().call("ListNodes", frontend_pb2.ListNodesRequest())
    found = sorted(reply.nodes, key=lambda one: one.metadata.name)
    settings.show(
        [nodes.as_json(one) for one in found],
        lambda: table(nodes.HEADS, map(nodes.row, found)),
    )


_LISTS: Final[Mapping[str, Callable[[Settings], None]]] = {
    "application": _list_applications,
    "session": _list_sessions,
    "executor": _list_executors,
    "node": _list_nodes,
}


def view_application(settings: Settings, name: str) -> None:
    """Show an application. Raises ClusterError."""
    found: types_pb2.Application = settings.cluster().call(
        "GetApplication", frontend_pb2.GetApplicationRequest(name=name)
    )
    settings.show(applications.as_json(found), lambda: applications.view(found))


def view_session(settings: Settings, session_id: str) -> None:
    """Show a session; as JSON, with its tasks. Raises ClusterError."""
    cluster = settings.cluster()
    found: types_pb2.Session = cluster.call(
        "GetSession", frontend_pb2.GetSessionRequest(session_id=session_id)
    )
    tasks = cluster.tasks_of(session_id) if settings.json else None
    settings.show(sessions.as_json(found, tasks), lambda: sessions.view(found))


def view_task(settings: Settings, session_id: str, task_id: str) -> None:
    """Show a task of a session. Raises ClusterError."""
    cluster = settings.cluster()
    session: types_pb2.Session = cluster.call(
        "GetSession", frontend_pb2.GetSessionRequest(session_id=session_id)
    )
    task: types_pb2.Task = cluster.call(
        "GetTask", frontend_pb2.GetTaskRequest(session_id=session_id, task_id=task_id)
    )
    settings.show(
        sessions.task_as_json(task), lambda: sessions.view_task(task, session.spec.application)
    )


def view_node(settings: Settings, name: str) -> None:
    """Show a node. Raises ClusterError."""
    reply = settings.cluster().call("GetNode", frontend_pb2.GetNodeRequest(name=name))
    settings.show(nodes.as_json(reply.node), lambda: nodes.view(reply.node))


VIEWS: Final[Mapping[str, Callable[[Settings, str], None]]] = {
    "application": view_application,
    "session": view_session,
    "node": view_node,
}
