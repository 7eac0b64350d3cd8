from __future__ import annotations

import pytest

from flame_remote._scheduling.records import BlockedRequest, TaskRecord, WorkerRecord

from .helpers import call


@pytest.fixture
def worker() -> WorkerRecord:
    return WorkerRecord(1, 0)


def assign(worker: WorkerRecord, *records: TaskRecord) -> None:
    worker.assigned.update((record.spec.id, record) for record in records)


def block(worker: WorkerRecord, record: TaskRecord) -> None:
    worker.blocked.append(BlockedRequest(1, record.spec.id, [], True))


def test_worker_is_stuck_when_its_last_task_is_blocked(worker: WorkerRecord) -> None:
    below, above = call(), call()
    assert not worker.is_stuck
    assign(worker, below)
    assert not worker.is_stuck
    block(worker, below)
    assert worker.is_stuck
    assign(worker, above)
    assert not worker.is_stuck
    block(worker, above)
    assert worker.is_stuck


def test_worker_that_was_told_to_end_is_not_stuck(worker: WorkerRecord) -> None:
    record = call()
    assign(worker, record)
    block(worker, record)
    worker.doomed = True
    assert not worker.is_stuck


def test_one_task_runs_and_those_beyond_it_are_unstarted(worker: WorkerRecord) -> None:
    below, above, beyond = call(), call(), call()
    assign(worker, below)
    assert not worker.has_unstarted
    assign(worker, above)
    assert worker.has_unstarted
    block(worker, below)
    assert not worker.has_unstarted
    assign(worker, beyond)
    assert worker.has_unstarted


def test_request_asks_for_each_object_once() -> None:
    request = BlockedRequest(1, 1, [5, 3, 5], True)
    assert list(request.candidates) == [5, 3]
