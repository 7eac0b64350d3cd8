"""The engine inside a worker: tasks that make calls are clients of the same cluster."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._execute.attempts import attempt
from flame_remote._facts import CallFacts
from flame_remote._ids import ObjectId, TaskId
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import FlameError

from .batch import Batch, Ticket
from .cache import Cache
from .cluster import Cluster
from .engine import FlameEngine
from .helping import Helping
from .program import CLAIMS, Program
from .running import Code, Finished, Runner, current_call, task_id_here
from .stored import Stored
from .waits import Waiter

# How long a call is kept for who waits for it. Longer than it takes to go from a call to its get.
_GRACE_SECONDS: Final = 0.02


class WorkerEngine(FlameEngine):
    """As tasks see it. Safe to call from any thread."""

    @classmethod
    def start(cls, program: Program) -> WorkerEngine:
        """Connect to the cluster that this process belongs to, which the environment names."""
        from flame_remote.core.context import FlameContext

        context = FlameContext.load()
        random = int.from_bytes(os.urandom(6), "little") | 1 << 47
        return cls(
            program,
            Cluster(context),
            Cache(context),
            common=b"",
            name=f"{random:x}",
            origin=random,
            grace=_GRACE_SECONDS,
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session_id = ""
        self._desk.claims.make_key = self._new_claim
        self._reported: set[ObjectId] = set()  # in the last reply: what we still refer to
        self.runner = Runner(self.values, Code(self.values))
        self.helping = Helping(
            self._inbox,
            self._desk,
            self._cache,
            self.runner,
            lambda session: session == self._session_id,
        )

    # --- batches ------------------------------------------------------------------------

    def enter(self, batch: Batch) -> None:
        """Note what a batch says about the session that this process serves."""
        self._session_id = batch.session
        self._post.sessions.common = batch.common

    def claim(self, key: str) -> bool:
        """Take a claim; False if somebody has it."""
        return self._cache.is_first_to_put(key)

    def take_tickets(self, tickets: Iterable[Ticket]) -> list[ObjectId]:
        """Take in what came along with refs; return the objects, which are held: release() them."""
        known = {ticket.id: ticket for ticket in tickets}
        if not known:
            return []
        taken = self._inbox.ask(
            partial(self._desk.replies.take_tickets, list(known), known, "", "")
        )
        return [stored.id for stored in taken]

    def release(self, ids: Iterable[ObjectId]) -> None:
        """Let go of what take_tickets has held."""
        ids = list(ids)
        if ids:
            self._inbox.tell(partial(self._table.release, ids))

    def hand_over(
        self, inside: list[ObjectId], receiver: str, finished: list[Finished]
    ) -> tuple[list[Ticket], tuple[ObjectId, ...]]:
        """Give the refs in results to who gets the results, once all calls made here are sent.

        Returns their tickets, and the objects of others that this process still refers to.
        """
        if not (inside or self._table.by_id or self.ref_events):
            return [], ()
        sent = threading.Event()
        self._inbox.tell(partial(self._post.when_sent, sent.set))
        sent.wait()

        def give() -> list[Ticket]:
            return self._table.hand_over(inside, receiver, self.values.mailbox_of)

        tickets = self._inbox.ask(give)
        for one in finished:
            one.refs.clear()
        # Refs that have died so far are counted by the turn that this takes.
        self._inbox.ask(_nothing)
        borrowed = self._inbox.ask(self._table.borrowed)
        if not self._reported.issuperset(borrowed):
            # What a call has left behind, an error with its frames, say, may only be garbage. The
            # owner would keep it until this process is heard of again.
            gc.collect()
            self._inbox.ask(_nothing)
            borrowed = self._inbox.ask(self._table.borrowed)
        self._reported = set(borrowed)
        return tickets, borrowed

    def has_more_for_us(self) -> bool:
        """Say whether the cluster has another batch for this process. Blocks for a round trip."""
        try:
            pending = self._cluster.pending(self._session_id)
            return self._cluster.connection.wait_for(pending, 5.0) > 0
        except FlameError:
            return False

    # --- the seam, where it differs -----------------------------------------------------

    def current_task(self) -> TaskId:
        return task_id_here()

    def call_facts(self) -> CallFacts:
        here = current_call.get()
        if here is None:
            return CallFacts()
        return CallFacts(name=self.runner.code.entry(here.target_id).name, attempt=attempt.get())

    def _new_claim(self) -> str:
        name = f"{self.name}-{self.new_id():x}"
        return self._cache.key_at(self.program.prefix(CLAIMS), name).key

    def on_done(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        super().on_done(ref, callback)
        if not self.is_done(ref):
            self.helping.help_with(ref._id)

    def _sleep(self, waiter: Waiter, entries: list[Stored], deadline: Deadline) -> None:
        self.helping.sleep(waiter, [entry.id for entry in entries], deadline)


def _nothing() -> None:
    pass
