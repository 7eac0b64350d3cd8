"""How long tasks may take: time limits, deadlines, and pauses between attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flame_remote._ids import WorkerId

from .alarms import Alarm, Alarms, What
from .clock import Clock
from .commands import Command, Ending, InterruptTask
from .fleet import Fleet
from .pace import Pace
from .records import TaskRecord, WorkerRecord
from .states import ENDED, TaskState
from .tasks import Tasks

# How long a task may take to end once it was told to; then its process is killed. Long enough for
# code that cleans up, short enough that a time limit means something.
GRACE_SECONDS: Final = 1.0


class Timing:
    """Ends tasks whose time is over, and resumes those that rest. Part of the scheduler."""

    def __init__(
        self,
        tasks: Tasks,
        fleet: Fleet,
        alarms: Alarms,
        pace: Pace,
        clock: Clock,
        decide: Callable[[Command], None],
    ) -> None:
        self._tasks = tasks
        self._fleet = fleet
        self._workers: Mapping[WorkerId, WorkerRecord] = fleet.workers
        self._alarms = alarms
        self._pace = pace
        self._clock = clock
        self._decide = decide

    def look(self) -> None:
        """Do what is due. Then ask for the next Tick."""
        for alarm in self._alarms.take_due():
            if alarm.record.state not in ENDED:
                self._handle(alarm)
        self._alarms.remind()

    def _handle(self, alarm: Alarm) -> None:
        record = alarm.record
        match alarm.what:
            case What.REST:
                if record.state is TaskState.RESTING:
                    self._tasks.resume(record)
            case What.DEADLINE:
                self.stop(record, Ending.DEADLINE)
            case What.TIMEOUT:
                if _is_the_same_run(alarm):
                    self._look_at_time_limit(record)
            case What.GRACE:
                if _is_the_same_run(alarm) and record.cancelling:
                    self._fleet.kill(self._workers[record.worker_id])

    def sent(self, record: TaskRecord) -> None:
        """Note that a task was sent to a worker: from now on it may run."""
        target = record.spec.target
        limit = target.limits.timeout
        if target.limits.max_calls:
            self._pace.keep_single(target.id)
            worker = self._workers[record.worker_id]
            number = worker.calls[target.id] = worker.calls.get(target.id, 0) + 1
            worker.is_used_up |= number >= target.limits.max_calls
        if target.limits.memory_bytes:
            self._pace.keep_single(target.id)  # else nobody knows whose memory it is
        if record.terms is not None and limit is not None:
            self._pace.keep_single(target.id)  # else nobody knows when it begins
            record.terms.sendings += 1
            record.terms.sent_at = self._clock.now
            record.terms.began = None
            self._alarms.set(self._clock.now + limit, What.TIMEOUT, record)

    def stop(self, record: TaskRecord, ending: Ending) -> None:
        """End a task, whatever it is doing. One that does not react loses its process."""
        if record.state is not TaskState.ASSIGNED:
            self._tasks.end(record, ending)
            return
        worker = self._workers[record.worker_id]
        if worker.doomed:
            return  # what it has ends when it is lost
        if not record.cancelling:
            record.cancelling = True
            record.own_terms().ending = ending
            self._decide(InterruptTask(worker.id, record.spec.id))
        self._alarms.set(self._clock.now + GRACE_SECONDS, What.GRACE, record)

    def _look_at_time_limit(self, record: TaskRecord) -> None:
        """Stop a task that has run for as long as it may; else look again when it has."""
        limit = record.spec.target.limits.timeout
        assert limit is not None
        began = self._began(record)
        now = self._clock.now
        if began is None:
            self._alarms.set(now + limit, What.TIMEOUT, record)
        elif began + limit > now:
            self._alarms.set(began + limit, What.TIMEOUT, record)
        else:
            self.stop(record, Ending.TIMED_OUT)

    def _began(self, record: TaskRecord) -> float | None:
        """Return since when a task has been running, None if it waits in its worker."""
        terms, worker = record.terms, self._workers[record.worker_id]
        assert terms is not None
        if not worker.heard:
            return None  # its process is still starting
        if record.spec.actor:
            return terms.began
        return max(terms.sent_at, worker.heard_at)


def _is_the_same_run(alarm: Alarm) -> bool:
    record = alarm.record
    sendings = 0 if record.terms is None else record.terms.sendings
    return record.state is TaskState.ASSIGNED and sendings == alarm.sending
