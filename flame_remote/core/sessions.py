"""The sessions of a cluster: create, open, get, list, close, delete."""

from __future__ import annotations

import secrets
import string
from typing import Final

from .connection import Connection, get_connection
from .resources import ResourceRequirement
from .session import Session, SessionAttributes, SessionState, check_size

__all__ = [
    "Session",
    "SessionAttributes",
    "SessionState",
    "close_session",
    "create_session",
    "delete_session",
    "get_session",
    "list_sessions",
    "open_session",
    "short_name",
]

_LETTERS: Final = string.ascii_letters + string.digits


def short_name(prefix: str, length: int = 6) -> str:
    """Return a name that is new: the prefix, "-", and some letters and digits at random."""
    return f"{prefix}-" + "".join(secrets.choice(_LETTERS) for _ in range(length))


def create_session(
    application: str,
    common_data: bytes | None = None,
    session_id: str | None = None,
    min_instances: int = 0,
    max_instances: int | None = None,
    batch_size: int = 1,
    resreq: ResourceRequirement | None = None,
    priority: int = 0,
    *,
    timeout: float | None = None,
    connection: Connection | None = None,
) -> Session:
    """Create a session of an application.

    Args:
        application: its name.
        common_data: given to each instance before its first task; below 4 MiB.
        session_id: its id; None for one that is new.
        min_instances: kept even when there is no task.
        max_instances: None for as many as there is room for.
        batch_size: new workers are started for so many tasks at a time (Flame after 0.6: 1).
        resreq: what each instance takes; None for what the cluster gives by itself.
        priority: sessions of a higher one are served first.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Returns:
        The session.

    Raises:
        ClusterError: NOT_FOUND if there is no such application, INVALID_STATE if it is disabled,
            ALREADY_EXISTS if there is a session of that id, INVALID_ARGUMENT.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    attributes = SessionAttributes(
        application=application,
        id=session_id or short_name(application),
        common_data=common_data,
        min_instances=min_instances,
        max_instances=max_instances,
        batch_size=batch_size,
        resreq=resreq,
        priority=priority,
    )
    request = frontend_pb2.CreateSessionRequest(
        session_id=attributes.id, session=attributes.to_proto()
    )
    check_size(request, f"create session {attributes.id!r}", "with its common_data it")
    answer = connection.call("CreateSession", request, timeout=timeout)
    return Session.from_proto(answer, connection)


def open_session(
    session_id: str,
    spec: SessionAttributes | None = None,
    *,
    timeout: float | None = None,
    connection: Connection | None = None,
) -> Session:
    """Return an open session; create it if it is not there and `spec` says how.

    Args:
        session_id: its id.
        spec: what it must be like, if it is there; what it will be like, if it is not.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Returns:
        The session.

    Raises:
        ClusterError: NOT_FOUND if it is not there and `spec` is None; INVALID_STATE if it is
            closed; INVALID_ARGUMENT if it is not as `spec` says.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    request = frontend_pb2.OpenSessionRequest(
        session_id=session_id, session=spec.to_proto() if spec is not None else None
    )
    check_size(request, f"open session {session_id!r}", "with its common_data it")
    answer = connection.call("OpenSession", request, timeout=timeout)
    return Session.from_proto(answer, connection)


def get_session(
    session_id: str, *, timeout: float | None = None, connection: Connection | None = None
) -> Session:
    """Return a session, open or closed, with its events.

    Args:
        session_id: its id.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: NOT_FOUND; ConnectError if there is no cluster.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    request = frontend_pb2.GetSessionRequest(session_id=session_id)
    return Session.from_proto(connection.call("GetSession", request, timeout=timeout), connection)


def list_sessions(
    *, timeout: float | None = None, connection: Connection | None = None
) -> list[Session]:
    """Return all sessions of the cluster, with their events.

    Args:
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: the cluster failed; ConnectError if there is none.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    answer = connection.call("ListSession", frontend_pb2.ListSessionRequest(), timeout=timeout)
    return [Session.from_proto(session, connection) for session in answer.sessions]


def close_session(
    session_id: str, *, timeout: float | None = None, connection: Connection | None = None
) -> Session:
    """Close a session: pending tasks are cancelled. One that is closed stays as it is.

    Args:
        session_id: its id.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Returns:
        The session as it is now.

    Raises:
        ClusterError: INVALID_STATE while tasks run; NOT_FOUND.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    request = frontend_pb2.CloseSessionRequest(session_id=session_id)
    return Session.from_proto(connection.call("CloseSession", request, timeout=timeout), connection)


def delete_session(
    session_id: str, *, timeout: float | None = None, connection: Connection | None = None
) -> Session:
    """Remove a closed session from the cluster.

    Args:
        session_id: its id.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Returns:
        The session as it was.

    Raises:
        ClusterError: INVALID_STATE while it is open; NOT_FOUND.
    """
    from flame_remote._proto import frontend_pb2

    connection = connection or get_connection()
    request = frontend_pb2.DeleteSessionRequest(session_id=session_id)
    return Session.from_proto(
        connection.call("DeleteSession", request, timeout=timeout), connection
    )
