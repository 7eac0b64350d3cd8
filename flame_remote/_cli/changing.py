"""The commands of `flmctl` that change what is on a cluster.

Those whose result a script could not know, say it; the others are quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flame_remote._proto import frontend_pb2
from flame_remote.exceptions import ClusterError, ConnectError

from . import sessions
from .manifest import Manifest, read_manifests
from .settings import Settings


def create_session(settings: Settings, application: str, priority: int, resreq: str | None) -> None:
    """Create a session with an id of its own, and show the id.

    Raises:
        UserError: `resreq` makes no sense.
        ClusterError: there is no such application, or the cluster refuses.
    """
    cluster = settings.cluster()
    session = cluster.create_session(application, priority=priority, resreq=resreq)
    settings.show(
        sessions.as_json(session), lambda: f"Session <{session.metadata.id}> was created.\n"
    )


def close_session(settings: Settings, session_id: str) -> None:
    """Close a session. Raises ClusterError."""
    session = settings.cluster().call(
        "CloseSession", frontend_pb2.CloseSessionRequest(session_id=session_id)
    )
    settings.show(sessions.as_json(session), lambda: f"Session <{session_id}> was closed.\n")


def register(settings: Settings, file: str) -> None:
    """Register all applications of a file, in its order.

    Raises:
        UserError: the file makes no sense; nothing is registered.
        ClusterError: the cluster refuses one; those before it are registered.
    """

    def request(one: Manifest) -> Any:
        return frontend_pb2.RegisterApplicationRequest(name=one.name, application=one.spec)

    _send_each(settings, file, "RegisterApplication", request)


def update(settings: Settings, file: str) -> None:
    """Replace the descriptions of all applications of a file. Raises as `register` does."""

    def request(one: Manifest) -> Any:
        return frontend_pb2.UpdateApplicationRequest(name=one.name, application=one.spec)

    _send_each(settings, file, "UpdateApplication", request)


def unregister(settings: Settings, name: str) -> None:
    """Remove an application. Raises ClusterError."""
    settings.cluster().call(
        "UnregisterApplication", frontend_pb2.UnregisterApplicationRequest(name=name)
    )
    settings.show({"application": name}, str)


def _send_each(
    settings: Settings, file: str, method: str, request: Callable[[Manifest], Any]
) -> None:
    """Send a request for each application of a file; an error says which one it is about."""
    manifests = read_manifests(file)
    cluster = settings.cluster()
    for manifest in manifests:
        try:
            cluster.call(method, request(manifest))
        except ConnectError:
            raise
        except ClusterError as error:
            raise type(error)(f"{manifest.where}: {error}", error.code) from error
    settings.show({"applications": [one.name for one in manifests]}, str)
