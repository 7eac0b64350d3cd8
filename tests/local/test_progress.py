from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator

import pytest

from flame_remote._local.progress import PROGRESS_BYTES, WORDS, Progress
from flame_remote.exceptions import WorkerStartError


@pytest.fixture
def progress() -> Iterator[Progress]:
    progress = Progress()
    yield progress
    progress.close()


def start_task(descriptor: int, word: int, task_id: int) -> None:
    """Do as the worker does that the word was assigned to."""
    with mmap.mmap(descriptor, PROGRESS_BYTES) as memory, memoryview(memory).cast("Q") as words:
        words[word] = task_id


def test_worker_that_has_started_nothing_has_no_last_task(progress: Progress) -> None:
    assert progress.last_started(1) == 0
    progress.assign(1)
    assert progress.last_started(1) == 0


def test_each_worker_has_a_word_of_its_own(progress: Progress) -> None:
    for worker_id in range(1, 100):
        start_task(progress.descriptor, progress.assign(worker_id), worker_id << 40)
    for worker_id in range(1, 100):
        assert progress.last_started(worker_id) == worker_id << 40


def test_the_largest_task_id_fits(progress: Progress) -> None:
    start_task(progress.descriptor, progress.assign(1), (1 << 63) - 1)
    assert progress.last_started(1) == (1 << 63) - 1


def test_word_is_used_again_once_its_worker_is_gone_and_not_before(progress: Progress) -> None:
    living = progress.assign(1)
    words = {living}
    for worker_id in range(2, 3 * WORDS):
        word = progress.assign(worker_id)
        assert word != living
        words.add(word)
        start_task(progress.descriptor, word, worker_id)
        progress.release(worker_id)
        assert progress.last_started(worker_id) == 0
    assert words == set(range(WORDS))


def test_new_worker_begins_anew_where_an_earlier_one_ended(progress: Progress) -> None:
    for worker_id in range(1, 2 * WORDS):
        start_task(progress.descriptor, progress.assign(worker_id), 77)
        progress.release(worker_id)
    progress.assign(2 * WORDS)
    assert progress.last_started(2 * WORDS) == 0


def test_worker_for_whom_no_word_is_left_cannot_be_started(progress: Progress) -> None:
    for worker_id in range(WORDS):
        progress.assign(worker_id)
    with pytest.raises(WorkerStartError, match="8192"):
        progress.assign(WORDS)
    progress.release(5)
    progress.assign(WORDS)


def test_word_outlives_the_process_that_wrote_it(progress: Progress) -> None:
    word = progress.assign(3)
    pid = os.fork()
    if pid == 0:
        start_task(progress.descriptor, word, 42)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert progress.last_started(3) == 42
