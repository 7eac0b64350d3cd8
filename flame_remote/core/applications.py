"""The applications of a cluster: register, update, unregister, get, list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .application import Application, ApplicationAttributes
from .connection import Connection, get_connection

__all__ = [
    "Application",
    "ApplicationAttributes",
    "get_application",
    "list_applications",
    "register_application",
    "unregister_application",
    "update_application",
]


def register_application(
    name: str,
    app_attrs: ApplicationAttributes | Mapping[str, Any],
    *,
    timeout: float | None = None,
    connection: Connection | None = None,
) -> None:
    """Make an application known to the cluster.

    Args:
        name: up to 253 letters, digits, ".", "_" and "-".
        app_attrs: what it is; a mapping of the same names will do.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: ALREADY_EXISTS, INVALID_ARGUMENT; ConnectError if there is no cluster.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.RegisterApplicationRequest(
        name=name, application=_attributes(app_attrs).to_proto()
    )
    (connection or get_connection()).call("RegisterApplication", request, timeout=timeout)


def update_application(
    name: str,
    app_attrs: ApplicationAttributes | Mapping[str, Any],
    *,
    timeout: float | None = None,
    connection: Connection | None = None,
) -> None:
    """Replace what an application is; what is not given is as in a new one.

    Args:
        name: of the application.
        app_attrs: all that it is from now on; a mapping of the same names will do.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: NOT_FOUND; INVALID_STATE while a session of it is open; INVALID_ARGUMENT.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.UpdateApplicationRequest(
        name=name, application=_attributes(app_attrs).to_proto()
    )
    (connection or get_connection()).call("UpdateApplication", request, timeout=timeout)


def unregister_application(
    name: str, *, timeout: float | None = None, connection: Connection | None = None
) -> None:
    """Remove an application, and its closed sessions.

    Args:
        name: of the application.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: NOT_FOUND; INVALID_STATE while a session of it is open.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.UnregisterApplicationRequest(name=name)
    (connection or get_connection()).call("UnregisterApplication", request, timeout=timeout)


def get_application(
    name: str, *, timeout: float | None = None, connection: Connection | None = None
) -> Application | None:
    """Return an application, or None if there is none of that name.

    Args:
        name: of the application.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: the cluster failed; ConnectError if there is none.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.GetApplicationRequest(name=name)
    try:
        answer = (connection or get_connection()).call("GetApplication", request, timeout=timeout)
    except ClusterError as error:
        if error.code is FlameErrorCode.NOT_FOUND:
            return None
        raise
    return Application.from_proto(answer)


def list_applications(
    *, timeout: float | None = None, connection: Connection | None = None
) -> list[Application]:
    """Return all applications of the cluster.

    Args:
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: the cluster failed; ConnectError if there is none.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.ListApplicationRequest()
    answer = (connection or get_connection()).call("ListApplication", request, timeout=timeout)
    return [Application.from_proto(application) for application in answer.applications]


def _attributes(given: ApplicationAttributes | Mapping[str, Any]) -> ApplicationAttributes:
    """Return attributes; raise ClusterError (INVALID_ARGUMENT) for a name that is none."""
    if isinstance(given, ApplicationAttributes):
        return given
    known = {attribute.name for attribute in fields(ApplicationAttributes)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ClusterError(
            f"an application has no attribute {unknown[0]!r}, only {', '.join(sorted(known))}",
            FlameErrorCode.INVALID_ARGUMENT,
        )
    return ApplicationAttributes(**given)
