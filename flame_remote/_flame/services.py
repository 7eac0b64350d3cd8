"""The services of a Runner, each with a session of its own."""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic
from typing import Final

from flame_remote._spec import Target
from flame_remote.exceptions import ClusterError, FlameErrorCode

from .cluster import Cluster
from .desk import Desk
from .inbox import Inbox
from .lanes import Lane
from .routes import Routes
from .sessions import Sessions

_SERVICE_SECONDS: Final = 30.0  # for the opening of a service's session, and for its closing
_LOOK_SECONDS: Final = 5.0  # that pass in a long wait before it is asked whether there is a point


class Services:
    """Opens and closes the sessions of functions' services. Any thread but the engine's; blocks."""

    def __init__(
        self, inbox: Inbox, cluster: Cluster, routes: Routes, desk: Desk, sessions: Sessions
    ) -> None:
        # Constant after construction. Routes, desk and sessions belong to the engine's thread.
        self._inbox = inbox
        self._cluster = cluster
        self._routes = routes
        self._desk = desk
        self._sessions = sessions

    def open(self, target: Target) -> None:
        """Open a session before the first call. Raises ClusterError."""
        lane = self._inbox.ask(partial(self._routes.lane_of_function, target))
        self._cluster.connection.wait_for(self._sessions.open(lane), _SERVICE_SECONDS)

    def close(self, target: Target) -> None:
        """Cancel what has not begun, wait for the rest, close the session. Raises ClusterError."""
        ended = threading.Event()
        lanes: list[Lane] = []
        self._inbox.tell(partial(self._end, target, ended, lanes))
        idle_since = monotonic()
        while not ended.wait(_LOOK_SECONDS):
            self._cluster.check_answers(f"the service of {target.name}() cannot be closed")
            if lanes and (lanes[0].is_busy or lanes[0].queue):
                idle_since = monotonic()  # calls of ours run there: as long as they take
            elif monotonic() - idle_since > _SERVICE_SECONDS:
                raise _stays_open(target, lanes)

    def _end(self, target: Target, ended: threading.Event, lanes: list[Lane]) -> None:
        lane = self._routes.forget(target)
        if lane is None:
            ended.set()
        else:
            lanes.append(lane)
            self._desk.end_service(lane, ended.set)


def _stays_open(target: Target, lanes: list[Lane]) -> ClusterError:
    session_id = lanes[0].plan.session_id if lanes else "unknown"
    return ClusterError(
        f"the service of {target.name}() cannot be closed: for {_SERVICE_SECONDS:g} s the "
        f"cluster has kept its session {session_id} open, as tasks run there that are not of "
        f"this program; close it later with: flmctl close -s {session_id}",
        FlameErrorCode.INVALID_STATE,
    )
