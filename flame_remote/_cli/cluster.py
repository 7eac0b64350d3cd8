"""The cluster that a command asks: its address, and requests in Flame's messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flame_remote._proto import frontend_pb2, types_pb2
from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.resources import ResourceRequirement
from flame_remote.core.sessions import short_name

from .ending import UserError
from .settings import Settings


class Cluster:
    """Requests to one cluster, each within the time that the options give.

    Made inside a click command, with which its connection ends.
    """

    def __init__(self, settings: Settings) -> None:
        """Find the address; nothing is sent yet.

        Raises:
            UserError: `--config` names no file.
            ClusterError: INVALID_CONFIG; the configuration makes no sense.
        """
        self.context = _context_of(settings)
        self.connection = Connection(self.context)
        self._timeout = settings.timeout
        click.get_current_context().call_on_close(self.connection.close)

    def call(self, method: str, request: Any) -> Any:
        """Send a request and return the reply. Blocks; raises ClusterError."""
        return self.connection.call(method, request, timeout=self._timeout)

    def tasks_of(self, session_id: str) -> list[types_pb2.Task]:
        """Return all tasks of a session, in no order. Blocks; raises ClusterError."""
        request = frontend_pb2.ListTaskRequest(session_id=session_id)

        async def collect() -> list[types_pb2.Task]:
            return [task async for task in self.connection.stream("ListTask", request)]

        return self.connection.wait_for(collect(), self._timeout)

    def create_session(
        self,
        application: str,
        *,
        priority: int = 0,
        resreq: str | None = None,
        common_data: bytes | None = None,
    ) -> types_pb2.Session:
        """Create a session with an id of its own.

        Raises:
            UserError: `resreq` is not like "cpu=1,mem=2g".
            ClusterError: there is no such application, or the cluster refuses.
        """
        spec = types_pb2.SessionSpec(
            application=application, batch_size=1, priority=priority, common_data=common_data
        )
        if resreq is not None:
            try:
                spec.resreq.CopyFrom(ResourceRequirement.from_string(resreq).to_proto())
            except ValueError as error:
                raise UserError(f"--resreq: {error}") from None
        request = frontend_pb2.CreateSessionRequest(
            session_id=short_name(application), session=spec
        )
        session: types_pb2.Session = self.call("CreateSession", request)
        return session


def _context_of(settings: Settings) -> FlameContext:
    """Settle which cluster is meant. Where an option said so, errors name the option."""
    if settings.config is not None and not Path(settings.config).expanduser().is_file():
        raise UserError(f"--config: there is no file {settings.config}")
    context = FlameContext.load(
        endpoint=settings.endpoint, path=settings.config, context=settings.context
    )
    if settings.endpoint is None:
        return context
    return replace(context, origins={**context.origins, "endpoint": "--endpoint"})
