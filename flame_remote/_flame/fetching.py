"""Replies of workers, and objects that other processes make; all on the connection's loop."""

from __future__ import annotations

import asyncio
import pickle
from time import monotonic
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import EngineError, FlameError, ObjectLostError, WorkerStartError

from .batch import Key, Reply, Result, load_reply
from .cache import Cache
from .cluster import Cluster
from .desk import Desk
from .holder import MAGIC
from .lost import ProcessLost
from .program import CLOSED, Program
from .stored import Stored

if TYPE_CHECKING:
    from flame_remote.core.tasks import Task

_OURS: Final = "flame_remote: "  # begins what our holder has to say

# How often is looked whether what was promised is there, and whether it can still come.
_FIRST_LOOK_SECONDS: Final = 0.003
_LAST_LOOK_SECONDS: Final = 0.25
_ENDED_SECONDS: Final = 1.0


class Fetcher:
    """Brings in what others have made for one engine."""

    def __init__(self, desk: Desk, cluster: Cluster, cache: Cache, program: Program) -> None:
        self._desk = desk
        self._cluster = cluster
        self._cache = cache
        self._program = program
        # Replies to others that are awaited, by session and Flame task.
        self._awaited: dict[tuple[str, str], asyncio.Task[tuple[Reply, str]]] = {}

    async def reply_of(self, session_id: str, task_id: str) -> tuple[Reply, str]:
        """Wait for the end of a Flame task; return the reply, and its key if it has one.

        Raises ProcessLost if the process died.
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

    async def fetch(self, stored: Stored) -> None:
        """Wait for an object that another process makes."""
        replies = self._desk.replies
        try:
            if stored.place is not None:
                await self._fetch_reply(stored, *stored.place)
            elif stored.mailbox is not None:
                await self._look_into_mailbox(stored, stored.mailbox)
            else:
                raise ObjectLostError(stored.id, "nobody knows where it comes from")
        except asyncio.CancelledError:
            raise
        except ProcessLost as lost:
            why = f"the process that made it {lost}"
            replies.never_arrives(stored, ObjectLostError(stored.id, why))
        except FlameError as error:
            replies.never_arrives(stored, error)
        except Exception as error:  # a bug; but nobody must wait for ever
            told = f"the engine failed: {type(error).__name__}: {error}"
            replies.never_arrives(stored, EngineError(told))

    async def _fetch_reply(self, stored: Stored, session: str, task_id: str, sender: str) -> None:
        place = session, task_id
        waiting = self._awaited.get(place)
        if waiting is None:
            waiting = self._awaited[place] = asyncio.ensure_future(self.reply_of(*place))
        try:
            # Not deleted: others may have been given objects of the same reply.
            reply, _ = await waiting
        finally:
            self._awaited.pop(place, None)
        for result in reply.results:
            for one in result.objects:
                if one.id == stored.id:
                    self._desk.replies.arrived(stored, one, reply.tickets, sender)
                    return
        raise ObjectLostError(stored.id, "its task ended without a result")

    async def _look_into_mailbox(self, stored: Stored, mailbox: Key) -> None:
        pause, since = _FIRST_LOOK_SECONDS, monotonic()
        while not stored.done:
            data = await self._cache.afind(mailbox)
            if data is not None:
                publisher, result, tickets = pickle.loads(data)
                if stored.id in self._desk.table.by_id:
                    self._desk.replies.arrived(stored, result, tickets, publisher)
                else:  # nobody refers to it any more
                    self._desk.replies.discard(result, tickets, publisher)
                    await self._cache.adelete([mailbox.key])
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
            if monotonic() - since > _ENDED_SECONDS:
                since = monotonic()
                await self._check_not_ended()

    async def _check_not_ended(self) -> None:
        prefix = self._program.prefix(CLOSED)
        if await self._cache.afind(self._cache.key_at(prefix, CLOSED)) is not None:
            raise EngineError("the program that would have made it has ended")

    async def publish(self, stored: Stored) -> None:
        """Put an outcome where it was promised."""
        assert stored.mailbox is not None
        result = Result(stored.id, int(stored.kind), stored.data, stored.inside)
        tickets = self._desk.tickets(stored.inside)
        data = pickle.dumps((self._desk.table.owner, result, tickets), 5)
        await self._cache.aput_at(stored.mailbox, data)


def _failure_of(task: Task) -> Exception:
    """Return what a failed Flame task means: our holder catches everything that users do."""
    text = next((event.message for event in reversed(task.events) if event.message), "")
    if text.startswith(_OURS):
        return WorkerStartError(text.removeprefix(_OURS))
    return ProcessLost(text)
