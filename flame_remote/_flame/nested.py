"""The engine inside a worker: tasks that make calls are clients of the same cluster.

A call of a function is kept here for a moment before it is sent: most are waited for at once, and
then run on top of who waits, without any traffic. What was sent and has not begun can be claimed
back. So tasks that wait for tasks come to an end, however few instances there are.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._execute.attempts import attempt
from flame_remote._execute.failure import encode_failure
from flame_remote._facts import CallFacts
from flame_remote._ids import ObjectId, TaskId
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import DeadlockError, FlameError

from .batch import Batch, Ticket
from .cache import Cache
from .calls import Call
from .cluster import Cluster
from .engine import FlameEngine
from .in_time import run_in_time
from .post import entry_of
from .program import CLAIMS, Program
from .running import Finished, Runner, current_call, failed, task_id_here
from .stored import Stored
from .waits import Waiter

# How long a call is kept for who waits for it. Longer than it takes to go from a call to its get.
_GRACE_SECONDS: Final = 0.02
# After this time a wait counts as one: others may then use the process.
_BLOCKED_SECONDS: Final = 0.01
# How long a call that was sent may wait for an instance before it is claimed back.
_CLAIM_SECONDS: Final = 0.25


class WorkerEngine(FlameEngine):
    """As tasks see it. Safe to call from any thread."""

    runner: Runner  # of this process; set before the first call runs

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
        self.on_block: Callable[[], object] | None = None  # called when a call of a batch blocks
        # Any thread; only added to and taken from as a whole.
        self._blocked: set[int] = set()
        self._asleep: list[int] = []  # one for each thread that waits
        self._desk.claims.make_key = self._new_claim
        self._reported: set[ObjectId] = set()  # in the last reply: what we still refer to
        self._helping = threading.Lock()
        # Guarded by self._helping.
        self._helped: list[ObjectId] = []  # what coroutines wait for
        self._helper: threading.Thread | None = None

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

    def take_blocked(self) -> tuple[int, ...]:
        """Return the targets whose calls have waited for others since the last time."""
        blocked, self._blocked = self._blocked, set()
        return tuple(blocked)

    @property
    def is_blocked(self) -> bool:
        """Whether a call waits for another."""
        return bool(self._asleep)

    def has_more_for_us(self) -> bool:
        """Say whether the cluster has another batch for this process. Blocks for a round trip."""
        try:
            pending = self._cluster.pending(self._session_id)
            return self._cluster.connection.wait_for(pending, 5.0) > 0
        except FlameError:
            return False

    # --- what coroutines wait for -------------------------------------------------------

    def on_done(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        """As in the engine of a program. No thread waits here, so somebody else has to help."""
        super().on_done(ref, callback)
        if not self.is_done(ref):
            with self._helping:
                self._helped.append(ref._id)
                if self._helper is None:
                    self._helper = threading.Thread(
                        target=self._help_coroutines, name="flame-helper", daemon=True
                    )
                    self._helper.start()

    def _help_coroutines(self) -> None:
        """Run what coroutines wait for and no instance begins, until there is nothing more."""
        pause = threading.Event()
        while True:
            pause.wait(_CLAIM_SECONDS)
            with self._helping:
                by_id = self._table.by_id
                self._helped = [
                    object_id
                    for object_id in self._helped
                    if (stored := by_id.get(object_id)) is not None and not stored.done
                ]
                ids = list(self._helped)
                if not ids:
                    self._helper = None
                    return
            self._claim_back(Waiter(len(ids), stop_at_failure=False), ids)

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

    # --- waiting ------------------------------------------------------------------------

    def _sleep(self, waiter: Waiter, entries: list[Stored], deadline: Deadline) -> None:
        """Wait; meanwhile run what is waited for and has not begun anywhere."""
        ids = [entry.id for entry in entries]
        self._help(waiter, ids)
        if waiter.wait(min(_BLOCKED_SECONDS, _left(deadline))) or deadline.expired():
            return
        here = current_call.get()
        if here is not None:
            self._blocked.add(here.target_id)
            if deadline.seconds is None:
                self._refuse_deadlock(ids, self.runner.code.entry(here.target_id).name)
        self._asleep.append(1)
        try:
            if self.on_block is not None:
                self.on_block()
            while not waiter.wait(min(_CLAIM_SECONDS, _left(deadline))):
                if deadline.expired():
                    return
                self._claim_back(waiter, ids)
        finally:
            self._asleep.pop()

    def _help(self, waiter: Waiter, ids: list[ObjectId]) -> None:
        """Run on top of this call what it waits for, as far as that is here and ready."""
        while not waiter.wait(0):
            call = self._inbox.ask(partial(self._desk.claims.take_kept, ids))
            if call is None:
                return
            finished = self._run_here(call)
            self._inbox.ask(partial(self._desk.outcomes.end, call, finished.result))

    def _run_here(self, call: Call) -> Finished:
        entry = self._desk.entry_of(call)
        self.runner.code.add((entry_of(call.spec.target),))
        if _is_stack_nearly_full():
            error = RecursionError("tasks inside tasks, too deep to run them all in one process")
            return failed(entry, encode_failure(error, call.name, entry.id, os.getpid()))
        return run_in_time(self.runner, entry, partial(self.runner.code.load, entry.target_id))

    def _claim_back(self, waiter: Waiter, ids: list[ObjectId]) -> None:
        """Claim what was sent and no instance has begun, one batch after the other, and run it."""
        claims = self._desk.claims
        self._help(waiter, ids)
        while not waiter.wait(0):
            shipment = self._inbox.ask(partial(claims.claimable, ids))
            if shipment is None:
                return
            claimed = self._cache.is_first_to_put(shipment.claim)
            self._inbox.ask(partial(claims.settle, shipment, claimed))
            self._help(waiter, ids)

    def _refuse_deadlock(self, ids: list[ObjectId], name: str) -> None:
        """Raise DeadlockError if all that is waited for waits for the call that runs here."""

        def cycle() -> tuple[str, ...]:
            for call in self._desk.claims.awaited(ids):
                lane = call.lane
                is_here = lane.ordered and lane.plan.session_id == self._session_id
                if is_here and lane.concurrency == 1:
                    return name, call.name
            return ()

        if names := self._inbox.ask(cycle):
            raise DeadlockError(names)


def _left(deadline: Deadline) -> float:
    remaining = deadline.remaining()
    return threading.TIMEOUT_MAX if remaining is None else remaining


def _nothing() -> None:
    pass


def _is_stack_nearly_full() -> bool:
    """Say whether a further call had better not be run on top of the present frames.

    Python's own limit would strike anywhere, even between two steps of our bookkeeping.
    """
    try:
        sys._getframe(sys.getrecursionlimit() * 6 // 10)
    except ValueError:
        return False
    return True
