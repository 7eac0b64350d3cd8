"""A session of the cluster as an engine sees it: the calls that wait for it, and those sent."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from flame_remote._ids import TaskId

from .batching import MAX_CALLS, Batcher, Item
from .calls import Call, CallState

# When a process that refers to objects of ours is asked whether it still does.
_FIRST_REPORT_SECONDS: Final = 0.2
_LAST_REPORT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is opened with. `resources` are CPUs, bytes and GPUs; None is the default."""

    session_id: str
    application: str
    min_instances: int = 0
    max_instances: int | None = None
    resources: tuple[int, int, int] | None = None


class Lane:
    """The way to one session. Belongs to the engine's thread.

    An actor's lane is `ordered`: its calls are sent in the order in which they were made, so one
    that waits for its arguments holds up those behind it. `concurrency` calls of an actor run at
    the same time.
    """

    def __init__(
        self,
        plan: SessionPlan,
        batcher: Batcher,
        *,
        ordered: bool,
        concurrency: int = 1,
        grace: float = 0.0,
    ) -> None:
        """`grace` is how many seconds calls are kept here for who might take them back."""
        # Constant after construction.
        self._first_id = plan.session_id
        self.ordered = ordered
        self.concurrency = concurrency
        self._batcher = batcher
        # Belongs to the engine's thread.
        self.plan = plan
        self._renewals = 0
        self.queue: deque[Call] = deque()
        self.sent: dict[TaskId, Call] = {}
        self.under_way = 0  # Flame tasks
        self.cancelled: list[TaskId] = []  # to be told
        self.running = 0  # calls that go on in the worker although their Flame task has ended
        self.grace = grace
        self._kept_since: float | None = None
        self.is_known = False  # the cluster has the session, opened by somebody else
        self.is_begun = False  # an actor's construction is on its way, so that others may call it
        self.losses = 0  # Flame tasks lost in a row
        self.failure = b""  # of the constructor
        self.how_it_died = ""
        self.last_output = ""  # of its process, as far as the cluster tells
        self.trouble = ""  # why no instance comes to be, as far as the cluster tells
        self.ends = False  # nobody calls it any more
        self.on_idle: Callable[[], object] | None = (
            None  # of a service that ends: when it is closed
        )
        self.report_at = math.inf  # when to ask its processes again which objects they hold
        self._report_pause = 0.0
        self.not_before = 0.0  # when the queue may be looked at, in seconds of the engine's clock

    @property
    def address(self) -> tuple[str, str, int]:
        """What others must know to send calls here."""
        return self.plan.session_id, self.plan.application, self.concurrency

    @property
    def unfinished(self) -> list[Call]:
        """All calls without an outcome."""
        return [*self.sent.values(), *self.queue]

    def renew(self) -> None:
        """Use another session from now on, as this one's process is dead and takes its tasks.

        The cluster closes nothing by itself: the old one ends with the application.
        """
        self._renewals += 1
        self.plan = replace(self.plan, session_id=f"{self._first_id}-r{self._renewals}")
        self.is_known = False

    def add(self, call: Call) -> None:
        """Take in a call: a function's when it is ready, an actor's at once."""
        self.queue.append(call)

    def remove(self, call: Call) -> None:
        """Take out a call that has not been sent. Raises ValueError if it has."""
        self.queue.remove(call)

    def return_calls(self, calls: list[Call]) -> None:
        """Put calls back to where they came from, in front of all others."""
        for call in reversed(calls):
            del self.sent[call.spec.id]
            self.queue.appendleft(call)

    def take(self, now: float, *, hurry: bool = False) -> list[Call]:
        """Return the calls of the next Flame task, none if there is nothing to send yet.

        In a hurry everything goes that can, however much is under way.
        """
        if now < self.not_before or (not hurry and self._keeps(now)):
            return []
        ready = self._ready()
        if hurry:
            number = self._batcher.most_together(ready)
        elif self.concurrency > 1:
            number = min(len(ready), MAX_CALLS)
        else:
            number = self._batcher.next_size(ready, self.under_way, now)
        taken = [self.queue.popleft() for _ in range(number)]
        if not self.queue:
            self._kept_since = None
        for call in taken:
            self.sent[call.spec.id] = call
        return taken

    def _keeps(self, now: float) -> bool:
        """Say whether calls are still kept for who might take them back."""
        if not self.grace or not self.queue:
            self._kept_since = None
            return False
        if self._kept_since is None:
            self._kept_since = now
        return now - self._kept_since < self.grace

    def look_again_after(self, now: float) -> float | None:
        """Return after how many seconds there may be something to send, though nothing happens."""
        report = max(0.0, self.report_at - now) if not self.under_way else math.inf
        queue = self._look_at_queue_after()
        wait = report if queue is None else min(queue, report)
        return wait if wait < math.inf else None

    def _look_at_queue_after(self) -> float | None:
        if not self.queue or self.queue[0].state is not CallState.QUEUED:
            return None
        if self._kept_since is not None:
            return self.grace
        return self._batcher.look_again_after(self.under_way)

    def note_held(self, holds: bool, now: float) -> None:
        """A process has said whether it still refers to objects of ours.

        It can tell no more until it is asked, so it is, again and again but ever more rarely.
        """
        self._report_pause = min(2 * self._report_pause, _LAST_REPORT_SECONDS)
        if not holds or not self._report_pause:
            self._report_pause = _FIRST_REPORT_SECONDS
        self.report_at = now + self._report_pause if holds else math.inf

    def note_reply(self, now: float) -> None:
        """A Flame task has ended."""
        self.under_way -= 1
        self._batcher.note_reply(now)

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way, or go on without a Flame task."""
        return self.under_way > 0 or self.running > 0

    def needs_carrier(self, now: float) -> bool:
        """Say whether something can only be said or heard with a further Flame task."""
        if self.under_way or self.how_it_died:
            return False
        has_news = self.running > 0 or bool(self.cancelled) or self.ends
        return has_news or now >= self.report_at

    def _ready(self) -> list[Item]:
        """Return what may be sent, as far as it matters how much that is."""
        if not self.ordered:
            return list(islice(self.queue, MAX_CALLS * 8))
        ready: list[Item] = []
        for call in self.queue:
            if call.state is not CallState.QUEUED or len(ready) >= MAX_CALLS:
                break
            ready.append(call)
        return ready
