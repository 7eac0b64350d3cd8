"""What a worker does while its calls wait for others: it runs those that nobody has begun.

A call of a function is kept here for a moment before it is sent: most are waited for at once, and
then run on top of who waits, without any traffic. What was sent and has not begun can be claimed
back. So tasks that wait for tasks come to an end, however few instances there are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from flame_remote._deadline import Deadline
from flame_remote._execute.failure import encode_failure
from flame_remote._execute.stack import is_stack_nearly_full
from flame_remote._ids import ObjectId
from flame_remote.exceptions import DeadlockError

from .cache import Cache
from .calls import Call
from .desk import Desk
from .in_time import run_in_time
from .inbox import Inbox
from .post import entry_of
from .running import Finished, Runner, current_call, failed
from .waits import Waiter

# After this time a wait counts as one: others may then use the process.
_BLOCKED_SECONDS: Final = 0.01
# How long a call that was sent may wait for an instance before it is claimed back.
_CLAIM_SECONDS: Final = 0.25


class Helping:
    """Waits that help, of all threads of a worker. Safe to call from any thread."""

    def __init__(
        self,
        inbox: Inbox,
        desk: Desk,
        cache: Cache,
        runner: Runner,
        serves: Callable[[str], bool],
    ) -> None:
        """`serves` says whether this process is an instance of a session, by its id."""
        # Constant after construction. The desk belongs to the engine's thread.
        self._inbox = inbox
        self._desk = desk
        self._cache = cache
        self._runner = runner
        self._serves = serves
        self.on_block: Callable[[], object] | None = None  # called when a call of a batch blocks
        # Any thread; only added to and taken from as a whole.
        self._blocked: set[int] = set()
        self._asleep: list[int] = []  # one for each thread that waits
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._awaited: list[ObjectId] = []  # what coroutines wait for
        self._helper: threading.Thread | None = None

    def take_blocked(self) -> tuple[int, ...]:
        """Return the targets whose calls have waited for others since the last time."""
        blocked, self._blocked = self._blocked, set()
        return tuple(blocked)

    @property
    def is_blocked(self) -> bool:
        """Whether a call waits for another."""
        return bool(self._asleep)

    # --- threads that wait --------------------------------------------------------------

    def sleep(self, waiter: Waiter, ids: list[ObjectId], deadline: Deadline) -> None:
        """Wait; meanwhile run what is waited for and has not begun anywhere."""
        self._help(waiter, ids)
        if waiter.wait(min(_BLOCKED_SECONDS, _left(deadline))) or deadline.expired():
            return
        here = current_call.get()
        if here is not None:
            self._blocked.add(here.target_id)
            if deadline.seconds is None:
                self._refuse_deadlock(ids, self._runner.code.entry(here.target_id).name)
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
        self._runner.code.add((entry_of(call.spec.target),))
        if is_stack_nearly_full():
            error = RecursionError("tasks inside tasks, too deep to run them all in one process")
            return failed(entry, encode_failure(error, call.name, entry.id, os.getpid()))
        return run_in_time(self._runner, entry, partial(self._runner.code.load, entry.target_id))

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
                is_here = lane.ordered and self._serves(lane.plan.session_id)
                if is_here and lane.concurrency == 1:
                    return name, call.name
            return ()

        if names := self._inbox.ask(cycle):
            raise DeadlockError(names)

    # --- coroutines that wait -----------------------------------------------------------

    def help_with(self, object_id: ObjectId) -> None:
        """A coroutine waits for an object. No thread waits here, so one that helps is started."""
        with self._lock:
            self._awaited.append(object_id)
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
            with self._lock:
                by_id = self._desk.table.by_id
                self._awaited = [
                    object_id
                    for object_id in self._awaited
                    if (stored := by_id.get(object_id)) is not None and not stored.done
                ]
                ids = list(self._awaited)
                if not ids:
                    self._helper = None
                    return
            self._claim_back(Waiter(len(ids), stop_at_failure=False), ids)


def _left(deadline: Deadline) -> float:
    remaining = deadline.remaining()
    return threading.TIMEOUT_MAX if remaining is None else remaining
