"""Carries shipments to the cluster and brings replies back; all on the connection's loop."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from flame_remote._spec import Target
from flame_remote.exceptions import (
    EngineError,
    FlameError,
    ObjectLostError,
    WorkerStartError,
)

from .batch import Batch, Key, Reply, Result, TargetEntry, dump, load_reply
from .cache import Cache
from .cluster import Cluster
from .desk import Desk, Shipment
from .driving import request_pickle
from .holder import MAGIC
from .lanes import Lane
from .program import BATCHES, CLOSED, CODE, Program
from .table import Gone, Stored

if TYPE_CHECKING:
    from flame_remote.core.tasks import Task

_MESSAGE_BYTES: Final = 1024 * 1024  # a larger batch goes through the cache
_CODE_BYTES: Final = 8 * 1024  # larger code likewise, once for all batches
_OURS: Final = "flame_remote: "  # begins what our holder has to say

# How often is looked whether what was promised is there.
_FIRST_LOOK_SECONDS: Final = 0.003
_LAST_LOOK_SECONDS: Final = 0.25
# How often it is tried to close a session that the cluster keeps open, at first and in the end.
_ENDED_SECONDS: Final = 1.0  # and how often, whether it can still come
_CLOSE_AGAIN_SECONDS: Final = 0.05
_CLOSE_SECONDS: Final = 5.0


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
        self.common = common  # what sessions are opened with
        self._wake = wake
        self._closed = False
        self._opening: dict[Lane, asyncio.Task[None]] = {}
        self._turns: dict[Lane, asyncio.Lock] = {}  # of actors: their tasks are created in order
        self._code: dict[int, Key] = {}  # of large targets
        self._replies: dict[
            tuple[str, str], asyncio.Task[tuple[Reply, str]]
        ] = {}  # to others' shipments
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # shipments that the cluster does not have yet
        self._on_sent: list[Callable[[], object]] = []  # to be called when all is sent

    def after_turn(self, gone: Gone) -> None:
        """Begin what the desk wants done."""
        desk = self._desk
        if self._closed:
            return
        if gone.keys or gone.outside:
            keys = [key.key for key in gone.keys] + [ref.key for ref in gone.outside]
            self._start(self._cache.adelete(keys))
        for lane in gone.lanes:
            self._end_lane(lane)
        for shipment in desk.shipments(monotonic(), hurry=bool(self._on_sent)):
            self._unsent += 1
            self._start(self._carry(shipment))
        for stored in [*_taken(desk.wanted), *gone.late]:
            self._start(self._fetch(stored))
        for stored in _taken(desk.publications):
            self._publish(stored)
        for lane in _taken(desk.closing):
            self._start(self._close_lane(lane))
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
        sessions = [lane.plan.session_id for lane in lanes if lane and lane.is_busy]
        await asyncio.gather(*map(self._end_actor, sessions), return_exceptions=True)

    async def _end_actor(self, session_id: str) -> None:
        batch = Batch(self._desk.table.owner, session_id, self.common, (), (), (), ends=True)
        await self._cluster.create_task(session_id, request_pickle(dump(batch)))

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

    # --- a Flame task ---

    async def _carry(self, shipment: Shipment) -> None:
        """Create a Flame task, wait for its end and take in what came of it."""
        try:
            try:
                shipment.task_id = await self._create(shipment)
            finally:
                self._note_created(shipment)
            reply, key = await self._reply_of(shipment.lane.plan.session_id, shipment.task_id)
            if key and not self._desk.is_handed_over(shipment):
                self._start(self._cache.adelete([key]))
            self._desk.take_reply(shipment, reply, monotonic())
        except asyncio.CancelledError:
            raise
        except _Lost as lost:
            self._desk.shipment_lost(shipment, str(lost), monotonic())
        except FlameError as error:
            self._desk.shipment_refused(shipment, self._refusal(shipment, error), monotonic())
        except Exception as error:  # a bug; but nobody must wait for ever
            told = EngineError(f"the engine failed: {type(error).__name__}: {error}")
            told.__cause__ = error
            self._desk.shipment_refused(shipment, told, monotonic())
        finally:
            keys = [shipment.claim] if shipment.claim else []
            if shipment.blob is not None:
                keys.append(shipment.blob.key)
            if keys:
                self._start(self._cache.adelete(keys))
            if not self._closed:
                self._wake()

    def _note_created(self, shipment: Shipment) -> None:
        self._unsent -= 1
        if shipment.task_id:
            self._desk.created(shipment, shipment.task_id)
            self._wake()
        self._tell_if_sent()

    def when_sent(self, call: Callable[[], object]) -> None:
        """Call back once the cluster has all calls that were made so far, and need not wait."""
        self._on_sent.append(call)
        self._wake()

    def _tell_if_sent(self) -> None:
        if self._on_sent and not self._unsent and not self._desk.has_unsent():
            for call in _taken(self._on_sent):
                call()

    async def _create(self, shipment: Shipment) -> str:
        lane = shipment.lane
        turn = self._turns.setdefault(lane, asyncio.Lock()) if lane.ordered else None
        if turn is not None:
            await turn.acquire()  # handed on in the order in which it was asked for
        try:
            await self.opened(lane)
            data = request_pickle(dump(await self._batch(shipment)))
            if len(data) > _MESSAGE_BYTES:
                prefix = self._program.prefix(BATCHES)
                batch = dump(await self._batch(shipment))
                shipment.blob = await self._cache.aput(prefix, [batch])
                data = request_pickle(pickle.dumps(shipment.blob, 5))
            return await self._cluster.create_task(lane.plan.session_id, data)
        finally:
            if turn is not None:
                turn.release()

    async def opened(self, lane: Lane) -> None:
        """Open a session, unless that has been done."""
        if lane.is_known:
            return
        opening = self._opening.get(lane)
        if opening is None:
            coroutine = self._cluster.open_session(lane.plan, self.common)
            opening = self._opening[lane] = asyncio.ensure_future(coroutine)
        try:
            await opening
            lane.is_known = True
        finally:
            self._opening.pop(lane, None)

    async def _batch(self, shipment: Shipment) -> Batch:
        targets = {call.spec.target.id: call.spec.target for call in shipment.calls}
        return Batch(
            self._desk.table.owner,
            shipment.lane.plan.session_id,
            self.common,
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

    async def _reply_of(self, session_id: str, task_id: str) -> tuple[Reply, str]:
        """Wait for the end of a Flame task; return the reply, and its key if it has one.

        Raises _Lost if the process died.
        """
        task = await self._cluster.end_of(session_id, task_id)
        if task.state.name == "CANCELLED":
            raise EngineError(f"its session {session_id} was closed on the cluster")
        if task.state.name != "SUCCEED":
            raise _failure_of(task)
        output = task.output or b""
        if output.startswith(MAGIC):
            return load_reply(memoryview(output)[len(MAGIC) :]), ""
        key, data = await self._cache.reply_at(output)
        return load_reply(data), key

    def _refusal(self, shipment: Shipment, error: FlameError) -> FlameError:
        if isinstance(error, WorkerStartError):
            shipment.lane.trouble = str(error)
        return error

    # --- what others make ---

    async def _fetch(self, stored: Stored) -> None:
        """Wait for an object that another process makes."""
        try:
            if stored.place is not None:
                await self._fetch_reply(stored, *stored.place)
            elif stored.mailbox is not None:
                await self._look_into_mailbox(stored, stored.mailbox)
            else:
                self._desk.never_arrives(
                    stored, ObjectLostError(stored.id, "nobody knows where it comes from")
                )
        except asyncio.CancelledError:
            raise
        except _Lost as lost:
            self._desk.never_arrives(
                stored, ObjectLostError(stored.id, f"the process that made it {lost}")
            )
        except FlameError as error:
            self._desk.never_arrives(stored, error)
        except Exception as error:
            self._desk.never_arrives(
                stored, EngineError(f"the engine failed: {type(error).__name__}: {error}")
            )
        finally:
            self._wake()

    async def _fetch_reply(self, stored: Stored, session: str, task_id: str, sender: str) -> None:
        place = session, task_id
        waiting = self._replies.get(place)
        if waiting is None:
            waiting = self._replies[place] = asyncio.ensure_future(self._reply_of(*place))
        try:
            # Not deleted: others may have been given objects of the same reply.
            reply, _ = await waiting
        finally:
            self._replies.pop(place, None)
        for result in reply.results:
            for one in result.objects:
                if one.id == stored.id:
                    self._desk.arrived(stored, one, reply.tickets, sender)
                    return
        raise ObjectLostError(stored.id, "its task ended without a result")

    async def _look_into_mailbox(self, stored: Stored, mailbox: Key) -> None:
        pause, since = _FIRST_LOOK_SECONDS, monotonic()
        while not stored.done and not self._closed:
            data = await self._cache.afind(mailbox)
            if data is not None:
                publisher, result, tickets = pickle.loads(data)
                if stored.id in self._desk.table.by_id:
                    self._desk.arrived(stored, result, tickets, publisher)
                else:  # nobody refers to it any more
                    await self._cache.adelete([mailbox.key])
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
            if monotonic() - since > _ENDED_SECONDS:
                since = monotonic()
                prefix = self._program.prefix(CLOSED)
                if await self._cache.afind(self._cache.key_at(prefix, CLOSED)) is not None:
                    raise EngineError("the program that would have made it has ended")

    def _publish(self, stored: Stored) -> None:
        """Put an outcome where it was promised."""
        mailbox = stored.mailbox
        assert mailbox is not None
        result = Result(stored.id, int(stored.kind), stored.data, stored.inside)
        tickets = self._desk.tickets(stored.inside)
        data = pickle.dumps((self._desk.table.owner, result, tickets), 5)
        self._start(self._cache.aput_at(mailbox, data))

    # --- sessions ---

    def _end_lane(self, lane: Lane) -> None:
        """Nobody can call an actor any more: let it go, then close its session."""
        if not lane.is_known and not lane.is_begun:
            return  # it was never made
        lane.ends = True
        self._desk.touch(lane)

    async def _close_lane(self, lane: Lane) -> None:
        self._turns.pop(lane, None)
        if lane.ordered and lane.is_busy:  # it was killed: what goes on there must end first
            with suppress(FlameError):
                await self._end_actor(lane.plan.session_id)
        session_id, pause = lane.plan.session_id, _CLOSE_AGAIN_SECONDS
        while lane.is_known and not self._closed and not await self._is_closed(session_id):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _CLOSE_SECONDS)
        self._desk.table.unpin(session_id)
        if lane.on_idle is not None:
            lane.on_idle()
        self._wake()

    async def _is_closed(self, session_id: str) -> bool:
        """Try to close a session; refused while a task runs there."""
        try:
            return await self._cluster.close_session(session_id)
        except FlameError:  # the cluster is away, or slow
            return False


class _Lost(Exception):
    """The process that ran a Flame task died; the text says how."""


def _failure_of(task: Task) -> Exception:
    """Return what a failed Flame task means: our holder catches everything that users do."""
    text = next((event.message for event in reversed(task.events) if event.message), "")
    if text.startswith(_OURS):
        return WorkerStartError(text.removeprefix(_OURS))
    return _Lost(f"was lost: {text}" if text else "was lost")


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
