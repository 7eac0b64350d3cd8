"""Carries shipments to the cluster and brings replies back; all on the connection's loop."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from flame_remote._spec import Target
from flame_remote.exceptions import EngineError, FlameError, WorkerStartError

from .batch import Batch, Key, TargetEntry, dump
from .cache import Cache
from .cluster import Cluster
from .desk import Desk
from .driving import request_pickle
from .fetching import Fetcher
from .lanes import Lane
from .lost import ProcessLost
from .program import BATCHES, CODE, Program
from .sessions import Sessions
from .shipment import Shipment
from .stored import Gone, Stored

_MESSAGE_BYTES: Final = 1024 * 1024  # a larger batch goes through the cache
_CODE_BYTES: Final = 8 * 1024  # larger code likewise, once for all batches


class Post:
    """All I/O of one engine that nobody waits for in a call of the API."""

    def __init__(
        self,
        desk: Desk,
        cluster: Cluster,
        cache: Cache,
        program: Program,
        common: bytes,
        wake: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._cluster = cluster
        self._cache = cache
        self._program = program
        self._wake = wake
        self._closed = False
        self.sessions = Sessions(cluster, desk.table.owner, common)
        self._fetcher = Fetcher(desk, cluster, cache, program)
        self._code: dict[int, Key] = {}  # of large targets
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # shipments that the cluster does not have yet
        self._on_sent: list[Callable[[], object]] = []  # to be called when all is sent

    def after_turn(self, gone: Gone) -> None:
        """Begin what the desk wants done."""
        desk = self._desk
        if self._closed:
            return
        if gone.keys or gone.outside:
            self._delete([key.key for key in gone.keys] + [ref.key for ref in gone.outside])
        for lane in gone.lanes:
            if lane.is_known or lane.is_begun:  # else it was never made
                lane.ends = True
                desk.touch(lane)
        for shipment in desk.shipments(monotonic(), hurry=bool(self._on_sent)):
            self._unsent += 1
            self._start(self._carry(shipment))
        for stored in [*_taken(desk.replies.wanted), *gone.late]:
            self._start(self._fetch(stored))
        for stored in _taken(desk.outcomes.publications):
            self._start(self._fetcher.publish(stored))
        for lane in _taken(desk.replies.closing):
            self._start(self._close(lane))
        self._tell_if_sent()
        self._look_again_after(desk.look_again_after(monotonic()))

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    async def end_actors(self) -> None:
        """Tell actors whose calls go on to end them, as their sessions cannot be closed before."""
        lanes = {stored.lane for stored in list(self._desk.table.by_id.values())} - {None}
        ends = [self.sessions.end_actor(lane) for lane in lanes if lane and lane.is_busy]
        await asyncio.gather(*ends, return_exceptions=True)

    def forget_code(self, target_id: int) -> None:
        """No call needs the code of a target any more."""
        if (key := self._code.pop(target_id, None)) is not None and not self._closed:
            self._delete([key.key])

    def when_sent(self, call: Callable[[], object]) -> None:
        """Call back once the cluster has all calls that were made so far, and need not wait."""
        self._on_sent.append(call)
        self._wake()

    def _tell_if_sent(self) -> None:
        if self._on_sent and not self._unsent and not self._desk.outcomes.has_unsent():
            for call in _taken(self._on_sent):
                call()

    def _look_again_after(self, seconds: float | None) -> None:
        if seconds is None:
            return
        loop = self._cluster.loop
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._wake()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._cluster.connection.keep(coroutine)

    def _delete(self, keys: list[str]) -> None:
        self._start(self._cache.adelete(keys))

    async def _fetch(self, stored: Stored) -> None:
        await self._fetcher.fetch(stored)
        self._wake()

    async def _close(self, lane: Lane) -> None:
        await self.sessions.close(lane)
        self._desk.table.unpin(lane.plan.session_id)
        if lane.on_idle is not None:
            lane.on_idle()
        self._wake()

    # --- a Flame task ---

    async def _carry(self, shipment: Shipment) -> None:
        """Create a Flame task, wait for its end and take in what came of it."""
        replies = self._desk.replies
        try:
            try:
                shipment.task_id = await self._create(shipment)
            finally:
                self._note_created(shipment)
            reply, key = await self._fetcher.reply_of(shipment.session_id, shipment.task_id)
            if key and not replies.is_handed_over(shipment):
                self._delete([key])
            replies.take(shipment, reply, monotonic())
        except asyncio.CancelledError:
            raise
        except ProcessLost as lost:
            replies.lost(shipment, lost, monotonic())
        except FlameError as error:
            if isinstance(error, WorkerStartError):
                shipment.lane.trouble = str(error)
            replies.refused(shipment, error, monotonic())
        except Exception as error:  # a bug; but nobody must wait for ever
            told = EngineError(f"the engine failed: {type(error).__name__}: {error}")
            told.__cause__ = error
            replies.refused(shipment, told, monotonic())
        finally:
            keys = [shipment.claim] if shipment.claim else []
            if shipment.blob is not None:
                keys.append(shipment.blob.key)
            if keys and not self._closed:
                self._delete(keys)
            self._wake()

    def _note_created(self, shipment: Shipment) -> None:
        self._unsent -= 1
        if shipment.task_id:
            self._desk.replies.created(shipment, shipment.task_id)
            self._wake()
        self._tell_if_sent()

    async def _create(self, shipment: Shipment) -> str:
        if not shipment.lane.ordered:
            return await self._create_in_turn(shipment)
        async with self.sessions.turn(shipment.lane):  # in the order in which it was asked for
            return await self._create_in_turn(shipment)

    async def _create_in_turn(self, shipment: Shipment) -> str:
        shipment.session_id = await self.sessions.open(shipment.lane)
        batch = dump(await self._batch(shipment))
        if len(batch) > _MESSAGE_BYTES:
            shipment.blob = await self._cache.aput(self._program.prefix(BATCHES), [batch])
            batch = pickle.dumps(shipment.blob, 5)
        return await self._cluster.create_task(shipment.session_id, request_pickle(batch))

    async def _batch(self, shipment: Shipment) -> Batch:
        targets = {call.spec.target.id: call.spec.target for call in shipment.calls}
        return Batch(
            self._desk.table.owner,
            shipment.session_id,
            self.sessions.common,
            tuple([await self._target_entry(target) for target in targets.values()]),
            tuple(shipment.entries),
            tuple(shipment.tickets),
            shipment.claim,
            shipment.cancelled,
            shipment.ends,
        )

    async def _target_entry(self, target: Target) -> TargetEntry:
        code: bytes | Key = target.code
        if len(target.code) > _CODE_BYTES:
            if target.id not in self._code:
                prefix = self._program.prefix(CODE)
                self._code[target.id] = await self._cache.aput(prefix, [target.code])
            code = self._code[target.id]
        return entry_of(target)._replace(code=code)


def entry_of(target: Target) -> TargetEntry:
    """Return a target as workers get it."""
    return TargetEntry(
        *(target.id, target.kind.value, target.name, target.code),
        *(target.method, target.max_concurrency, bool(target.refs)),
    )


def _taken(things: list[Any]) -> list[Any]:
    """Return what is in a list, and empty it."""
    taken = things[:]
    things.clear()
    return taken
