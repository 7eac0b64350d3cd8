"""The worker's side: takes batches from the holder, has their calls run, makes replies."""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any, Final

from flame_remote._current import set_current
from flame_remote._ids import ObjectId
from flame_remote._spec import TargetKind

from . import guard
from .batch import Batch, CallEntry, Key, Reply, dump, load_batch
from .helping import Helping
from .in_time import run_in_time
from .instance import Instance
from .nested import WorkerEngine
from .program import Program
from .running import Finished, Runner

# How often a batch that could be kept open looks whether the cluster has another for this process.
_FIRST_LOOK_SECONDS: Final = 0.002
_LAST_LOOK_SECONDS: Final = 0.03
_KEEP_OPEN_SECONDS: Final = 30.0


class Worker:
    """One worker process. The holder hands over one batch at a time."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Get ready: from now on code in this process uses an engine on the same cluster."""
        self._engine = WorkerEngine.start(Program.from_dict(settings))
        set_current(self._engine)
        self._guard = guard.begin(os.environ)
        self._runner = self._engine.runner
        self._code = self._runner.code
        self._instance = Instance(self._runner)
        self._replies = 0
        # By sender: what its calls have come to since the last reply to it.
        self._desks: dict[str, _Sender] = {}

    def run(self, data: bytes) -> bytes:
        """Run one batch; return the reply."""
        batch = self._load(data)
        engine = self._engine
        engine.enter(batch)
        if batch.claim and not engine.claim(batch.claim):
            return dump(self._reply(batch, (), {}, 0, taken=True))
        self._code.add(batch.targets)
        held = engine.take_tickets(batch.tickets)
        if self._is_for_instance(batch):
            finished, running = self._run_on_instance(batch, held)
        else:
            finished = _FunctionBatch(engine.helping, self._runner, batch.calls).run()
            engine.release(held)
            running = 0
        self._code.forget(batch.targets)
        return dump(self._reply(batch, finished, _seconds_of(finished), running))

    def _load(self, data: bytes) -> Batch:
        """Read a batch, or the address of a large one."""
        message = pickle.loads(data)
        if isinstance(message, Key):
            return load_batch(bytes(self._engine.values.fetch(message)))
        assert isinstance(message, Batch)
        return message

    def _is_for_instance(self, batch: Batch) -> bool:
        if not batch.calls:
            return True
        first = self._code.entry(batch.calls[0].target_id)
        return first.kind != TargetKind.FUNCTION.value

    # --- actors -------------------------------------------------------------------------

    def _run_on_instance(
        self, batch: Batch, held: list[ObjectId]
    ) -> tuple[tuple[Finished, ...], int]:
        """Begin calls of the actor; return what has ended, and how many of the sender's go on."""
        sender = self._desks.setdefault(batch.sender, _Sender())
        sender.begin(len(batch.calls), partial(self._engine.release, held))
        for entry in batch.calls:
            self._instance.start(entry, sender.ended)
        if batch.cancelled:
            self._instance.cancel(batch.cancelled)
        if batch.ends:
            self._instance.end()
        self._await_calls(sender)
        return sender.take()

    def _await_calls(self, sender: _Sender) -> None:
        """Wait until the sender's calls have ended; not as long as that if others could begin.

        A cluster gives a process one batch at a time. So a batch whose calls wait for something is
        answered early when there is another for this process; what they come to is told later.
        """
        end, pause = monotonic() + _KEEP_OPEN_SECONDS, _FIRST_LOOK_SECONDS
        while not sender.wait(pause):
            if not self._instance.runs_several and not self._engine.helping.is_blocked:
                continue
            if sender.has_finished or monotonic() > end or self._engine.has_more_for_us():
                return
            pause = min(1.5 * pause, _LAST_LOOK_SECONDS)

    # --- replies ------------------------------------------------------------------------

    def _reply(
        self,
        batch: Batch,
        finished: Iterable[Finished],
        seconds: dict[int, tuple[int, float]],
        running: int,
        *,
        taken: bool = False,
    ) -> Reply:
        finished = list(finished)
        results = tuple(one.result for one in finished)
        made = [one for result in results for one in result.objects]
        inside = [object_id for one in made for object_id in one.inside]
        tickets, borrowed = self._engine.hand_over(inside, batch.sender, finished)
        self._replies += 1
        return Reply(
            self._engine.name,
            os.getpid(),
            self._replies,
            results,
            tuple(tickets),
            seconds,
            borrowed,
            self._engine.helping.take_blocked(),
            running,
            taken,
        )


class _Sender:
    """The calls of one engine on the actor here. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # Guarded by self._changed.
        self._finished: list[Finished] = []
        self._running = 0
        self._batches: deque[tuple[int, Callable[[], object]]] = deque()

    def begin(self, number: int, release: Callable[[], object]) -> None:
        """Note calls that begin, and what to call when all of this sender's have ended."""
        with self._changed:
            self._running += number
            self._batches.append((number, release))

    def ended(self, finished: Finished) -> None:
        """A call has ended."""
        with self._changed:
            self._finished.append(finished)
            self._running -= 1
            self._changed.notify_all()

    @property
    def has_finished(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._finished)

    def wait(self, seconds: float) -> bool:
        """Wait until all calls have ended; say whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def take(self) -> tuple[tuple[Finished, ...], int]:
        """Return what has ended since the last time, and how many calls go on."""
        with self._changed:
            finished, self._finished = tuple(self._finished), []
            running = self._running
            releases = list(self._batches) if not running else []
            if not running:
                self._batches.clear()
        for _, release in releases:
            release()
        return finished, running


class _FunctionBatch:
    """Calls of functions, one after the other.

    When one waits for another call, those behind it go on in a further thread: it may be them that
    it waits for.
    """

    def __init__(self, helping: Helping, runner: Runner, calls: tuple[CallEntry, ...]) -> None:
        self._helping = helping
        self._runner = runner
        self._left = deque(calls)  # taken from one by one, by whichever thread
        self._finished: list[Finished] = []
        self._threads: list[threading.Thread] = []

    def run(self) -> tuple[Finished, ...]:
        """Run them all; return how they ended."""
        self._helping.on_block = self._go_on_elsewhere
        try:
            self._work()
            while self._threads:
                self._threads.pop().join()
        finally:
            self._helping.on_block = None
        return tuple(self._finished)

    def _work(self) -> None:
        while self._left:
            try:
                entry = self._left.popleft()
            except IndexError:  # another thread was faster
                return
            load = partial(self._runner.code.load, entry.target_id)
            self._finished.append(run_in_time(self._runner, entry, load))

    def _go_on_elsewhere(self) -> None:
        if self._left:
            thread = threading.Thread(target=self._work, name="flame-calls", daemon=True)
            self._threads.append(thread)
            thread.start()


def _seconds_of(finished: Iterable[Finished]) -> dict[int, tuple[int, float]]:
    """Return for each target how many calls took how long."""
    seconds: dict[int, tuple[int, float]] = {}
    for one in finished:
        calls, total = seconds.get(one.entry.target_id, (0, 0.0))
        seconds[one.entry.target_id] = calls + 1, total + one.seconds
    return seconds
