from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator

import pytest

from flame_remote._local.progress import Progress
from flame_remote._local.spawner import PROGRESS_BYTES, PROGRESS_SLOTS


@pytest.fixture
def progress() -> Iterator[Progress]:
    progress = Progress()
    yield progress
    progress.close()


def start_task(descriptor: int, worker_id: int, task_id: int) -> None:
    """Do as a worker does."""
    with mmap.mmap(descriptor, PROGRESS_BYTES) as memory, memoryview(memory).cast("Q") as words:
        slot = worker_id % PROGRESS_SLOTS
        with words[slot : slot + 1] as word:
            word[0] = task_id


def test_worker_that_has_started_nothing_has_no_last_task(progress: Progress) -> None:
    assert progress.last_started(1) == 0


def test_each_worker_has_a_word_of_its_own(progress: Progress) -> None:
    for worker_id in range(1, PROGRESS_SLOTS):
        start_task(progress.descriptor, worker_id, worker_id << 40)
    for worker_id in range(1, PROGRESS_SLOTS):
        assert progress.last_started(worker_id) == worker_id << 40


def test_the_largest_task_id_fits(progress: Progress) -> None:
    start_task(progress.descriptor, 1, (1 << 63) - 1)
    assert progress.last_started(1) == (1 << 63) - 1


def test_new_worker_begins_anew_where_an_earlier_one_ended(progress: Progress) -> None:
    start_task(progress.descriptor, 5, 77)
    assert progress.last_started(5 + PROGRESS_SLOTS) == 77
    progress.reset(5 + PROGRESS_SLOTS)
    assert progress.last_started(5 + PROGRESS_SLOTS) == 0


def test_word_outlives_the_process_that_wrote_it(progress: Progress) -> None:
    pid = os.fork()
    if pid == 0:
        start_task(progress.descriptor, 3, 42)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert progress.last_started(3) == 42
