"""The sessions of an engine on the cluster: opened, ended, closed; all on the connection's loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from flame_remote.exceptions import FlameError

from .batch import Batch, dump
from .cluster import Cluster
from .driving import request_pickle
from .lanes import Lane

# How often it is tried to close a session that the cluster keeps open, at first and in the end.
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 5.0


class Sessions:
    """Opens and closes sessions for one engine."""

    def __init__(self, cluster: Cluster, name: str, common: bytes) -> None:
        """`name` is that of the engine; `common` is what sessions are opened with."""
        self._cluster = cluster
        self._name = name
        self.common = common
        self._opening: dict[Lane, asyncio.Task[None]] = {}
        self._turns: dict[Lane, asyncio.Lock] = {}

    async def open(self, lane: Lane) -> str:
        """Open the session of a lane, unless that has been done; return its id."""
        plan = lane.plan
        if lane.is_known:
            return plan.session_id
        opening = self._opening.get(lane)
        if opening is None:
            coroutine = self._cluster.open_session(lane.plan, self.common)
            opening = self._opening[lane] = asyncio.ensure_future(coroutine)
        try:
            await opening
            if lane.plan is plan:  # else it was renewed meanwhile
                lane.is_known = True
        finally:
            self._opening.pop(lane, None)
        return plan.session_id

    def turn(self, lane: Lane) -> asyncio.Lock:
        """Return what is held while a task of an actor is created."""
        return self._turns.setdefault(lane, asyncio.Lock())

    async def close(self, lane: Lane) -> None:
        """Close a session; try again as long as the cluster wants to keep it: a task runs there."""
        self._turns.pop(lane, None)
        if lane.ordered and lane.is_busy:  # it was killed: what goes on there must end first
            with suppress(FlameError):
                await self.end_actor(lane)
        pause = _FIRST_PAUSE_SECONDS
        while lane.is_known and not await self._is_closed(lane.plan.session_id):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _is_closed(self, session_id: str) -> bool:
        try:
            return await self._cluster.close_session(session_id)
        except FlameError:  # the cluster is away, or slow
            return False

    async def end_actor(self, lane: Lane) -> None:
        """Tell an actor to let go of its instance and to end its calls."""
        session_id = lane.plan.session_id
        batch = Batch(self._name, session_id, self.common, (), (), (), ends=True)
        await self._cluster.create_task(session_id, request_pickle(dump(batch)))
