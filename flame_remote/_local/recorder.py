"""What a worker tells of its tasks only when it was asked to: when they ran, which lines make refs.

It takes the place of the methods that it watches, so nobody else pays for it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from flame_remote._creation_sites import line_of_the_user
from flame_remote._ids import TaskId

from .messages import Record, ResultEntry, Sites, Spans, TaskEntry

if TYPE_CHECKING:
    from .nested import WorkerEngine
    from .running import Runner
    from .worker import Worker


def begin(record: Record, engine: WorkerEngine, runner: Runner, worker: Worker) -> None:
    """Tell from now on what `record` asks for. Before the first task."""
    if record.spans:
        _SpanRecorder(runner, worker)
    if record.sites:
        _record_sites(engine)


class _SpanRecorder:
    """Notes each task's times, and sends them before the task's result."""

    def __init__(self, runner: Runner, worker: Worker) -> None:
        link = worker.link
        self._link = link
        self._spans: list[tuple[TaskId, float, float, int]] = []
        self._began: dict[TaskId, float] = {}  # of calls that run beside others
        self._end_task, self._flush = link.end_task, link.flush
        self._begin_call, self._finish_call = runner.begin_call, runner.finish_call
        link.end_task = self.end_task  # type: ignore[method-assign]
        link.flush = self.flush  # type: ignore[method-assign]
        runner.begin_call = self.begin_call  # type: ignore[method-assign]
        runner.finish_call = self.finish_call  # type: ignore[method-assign]

    def end_task(self, entry: ResultEntry, keep: Any, started: float, target_id: int) -> None:
        self._note(entry[0], started)
        self._end_task(entry, keep, started, target_id)

    def begin_call(self, entry: TaskEntry) -> None:
        self._began[entry[0]] = time.perf_counter()
        self._begin_call(entry)

    def finish_call(self, entry: TaskEntry, succeeded: bool, value: Any) -> None:
        self._note(entry[0], self._began.pop(entry[0]))
        self._finish_call(entry, succeeded, value)

    def flush(self) -> None:
        with self._link.turn:
            spans, self._spans = self._spans, []
            if spans:
                self._link.send_in_turn(Spans(spans))
        self._flush()

    def _note(self, task_id: TaskId, began: float) -> None:
        with self._link.turn:
            thread = threading.get_native_id()
            self._spans.append((task_id, began, time.perf_counter(), thread))


def _record_sites(engine: WorkerEngine) -> None:
    submit, put = engine.submit, engine.put

    def tell(make: Any, argument: Any) -> Any:
        site = line_of_the_user()
        ref = make(argument)
        engine._link.send(Sites([(ref._id, site)]))
        return ref

    engine.submit = lambda spec: tell(submit, spec)  # type: ignore[method-assign]
    engine.put = lambda packed: tell(put, packed)  # type: ignore[method-assign]
