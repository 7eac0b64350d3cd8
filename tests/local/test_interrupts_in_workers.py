"""A task that is cancelled anywhere, be it in the middle of our code, leaves its worker whole."""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote
from flame_remote._deadline import NEVER as NO_LIMIT
from flame_remote._local.control import Control
from flame_remote._local.messages import Interrupt, TaskEntry, encode
from flame_remote._outcome import Kind
from flame_remote._wire.packing import pack

from ..at_line import AtLine
from .fake_driver import BROKEN, LARGE, NEVER, SMALL, WorkerBesideDriver

FIRST_TASK = 1 << 20
BESIDE: list[WorkerBesideDriver] = []  # that of the test that runs, where its tasks find it


@pytest.fixture
def beside() -> Iterator[WorkerBesideDriver]:
    before = signal.getsignal(signal.SIGINT)
    beside = WorkerBesideDriver()
    BESIDE[:] = [beside]
    beside.worker.shelter.watch_signals()
    yield beside
    signal.signal(signal.SIGINT, before)
    BESIDE.clear()
    beside.close()


# --- what tasks do ------------------------------------------------------------------------------


def get(*object_ids: int) -> list[Any]:
    (beside,) = BESIDE
    return beside.engine.get([beside.ref(object_id) for object_id in object_ids], NO_LIMIT)


def get_small() -> None:
    get(SMALL)


def get_large() -> None:
    get(LARGE, SMALL, LARGE)


def get_what_never_comes() -> None:
    get(NEVER)


def get_large_that_is_late() -> None:
    get(LARGE, NEVER)


def wait_and_look() -> None:
    (beside,) = BESIDE
    refs = [beside.ref(SMALL), beside.ref(LARGE)]
    beside.engine.wait(refs, 2, NO_LIMIT)
    beside.engine.is_done(refs[0])
    beside.engine.cancel(refs[0], force=False)


def put_large() -> None:
    BESIDE[0].engine.put(pack(bytearray(1 << 20), str))


def take_large(value: bytearray) -> int:
    return len(value)


def return_large() -> bytearray:
    return bytearray(1 << 20)


async def be_awaited() -> int:
    return len(get(LARGE))


TASKS = [
    get_small,
    get_large,
    wait_and_look,
    put_large,
    take_large,
    return_large,
    be_awaited,
]


# --- at every line ------------------------------------------------------------------------------


def run_and_cancel_at_line(beside: WorkerBesideDriver, entry: TaskEntry, n: int) -> bool:
    """Run a task, cancel it as it comes to the n-th line; say whether it did."""
    wake = threading.Thread(target=beside.link.wake)

    def cancel() -> None:
        # As Control does, from another thread.
        beside.worker.shelter.wanted.append(entry[0])
        wake.start()
        signal.raise_signal(signal.SIGINT)

    at_line = AtLine(n, cancel)
    at_line.run(lambda: beside.worker.run(entry))
    if at_line.where:
        wake.join()
    return bool(at_line.where)


def require_whole(beside: WorkerBesideDriver) -> None:
    for _ in range(2):  # the trace itself holds frames a little longer
        beside.flush()
    assert beside.pins.total() == 0
    assert beside.worker.shelter.exposed == 0
    with beside.link.turn, beside.engine.storage.turn:
        pass


def run_cancelled_everywhere(beside: WorkerBesideDriver, function: Callable[..., Any]) -> None:
    for n in itertools.count(1):
        task_id = FIRST_TASK + n
        large = function is take_large
        entry = beside.entry(task_id, function, large=large)
        came = run_and_cancel_at_line(beside, entry, n)
        require_whole(beside)
        assert task_id in beside.results
        if not came:
            break
    assert n > 50
    beside.worker.run(beside.entry(FIRST_TASK, get_small))
    beside.flush()
    assert beside.results[FIRST_TASK] is Kind.ATOM


@pytest.mark.parametrize("function", TASKS)
def test_task_may_be_cancelled_at_every_line(
    function: Callable[..., Any], beside: WorkerBesideDriver
) -> None:
    run_cancelled_everywhere(beside, function)


def test_task_that_follows_another_reader_may_be_cancelled_at_every_line(
    beside: WorkerBesideDriver,
) -> None:
    values: list[Any] = []
    reader = threading.Thread(target=lambda: values.append(get(NEVER)))
    reader.start()
    beside.wait_for(lambda driver: len(driver.waiting) == 1)
    run_cancelled_everywhere(beside, get_large)
    assert not values
    beside.answer_all()
    reader.join(20)
    assert values == [[[NEVER]]]


# --- while it waits -----------------------------------------------------------------------------


class InThread:
    """A get in another thread of the worker, of what never comes by itself."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._thread = threading.Thread(target=lambda: self.values.append(get(NEVER)))
        self._thread.start()

    def has_ended(self) -> bool:
        self._thread.join(20)
        return not self._thread.is_alive()


def cancel_once_waiting(beside: WorkerBesideDriver, task_id: int, waiting: int) -> threading.Thread:
    """Cancel a task, in a thread, as soon as the driver has so many requests to answer."""

    def cancel() -> None:
        beside.wait_for(lambda driver: len(driver.waiting) == waiting)
        Control(beside.worker, beside.channel).interrupt(task_id)

    thread = threading.Thread(target=cancel)
    thread.start()
    return thread


def require_cancelled(beside: WorkerBesideDriver, task_id: int, cancel: threading.Thread) -> None:
    cancel.join()
    require_whole(beside)
    assert beside.results[task_id] is Kind.FAILED


def test_task_that_follows_is_cancelled_and_the_reader_reads_on(
    beside: WorkerBesideDriver,
) -> None:
    reader = InThread()
    beside.wait_for(lambda driver: len(driver.waiting) == 1)
    cancel = cancel_once_waiting(beside, FIRST_TASK, 2)
    beside.worker.run(beside.entry(FIRST_TASK, get_what_never_comes))
    require_cancelled(beside, FIRST_TASK, cancel)
    beside.answer_all()
    assert reader.has_ended()
    assert reader.values == [[[NEVER]]]


def test_task_that_reads_is_cancelled_and_a_follower_reads_on(beside: WorkerBesideDriver) -> None:
    followers: list[InThread] = []

    def follow() -> None:
        beside.wait_for(lambda driver: len(driver.waiting) == 1)
        followers.append(InThread())

    thread = threading.Thread(target=follow)
    thread.start()
    cancel = cancel_once_waiting(beside, FIRST_TASK, 2)
    beside.worker.run(beside.entry(FIRST_TASK, get_what_never_comes))
    require_cancelled(beside, FIRST_TASK, cancel)
    thread.join()
    beside.answer_all()
    assert followers[0].has_ended()
    assert followers[0].values == [[[NEVER]]]


def test_task_below_another_is_cancelled_once_that_has_ended(beside: WorkerBesideDriver) -> None:
    def cancel() -> None:
        beside.wait_for(lambda driver: len(driver.waiting) == 1)
        beside.help_with(beside.entry(FIRST_TASK + 1, get_what_never_comes))
        beside.wait_for(lambda driver: len(driver.waiting) == 2)
        Control(beside.worker, beside.channel).interrupt(FIRST_TASK)
        beside.answer_last()

    thread = threading.Thread(target=cancel)
    thread.start()
    beside.worker.run(beside.entry(FIRST_TASK, get_what_never_comes))
    require_cancelled(beside, FIRST_TASK, thread)
    assert beside.results[FIRST_TASK + 1] is Kind.ATOM


NOTES: list[str] = []


def sleep_for_ever() -> None:
    NOTES.append("sleeps")
    BESIDE[0].engine.is_done(BESIDE[0].ref(SMALL))  # so that the driver hears that it has begun
    threading.Event().wait()


def import_something() -> None:
    import for_import  # noqa: F401  cancels this task

    NOTES.append("imported")
    signal.raise_signal(signal.SIGINT)
    NOTES.append("not struck")


def cancel_this() -> None:
    """Cancel the task that runs, in its own thread."""
    (beside,) = BESIDE
    beside.worker.shelter.wanted.append(beside.worker.running)
    signal.raise_signal(signal.SIGINT)


def test_task_in_its_own_code_is_struck_through_the_control_socket(
    beside: WorkerBesideDriver,
) -> None:
    NOTES.clear()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        control = Control(beside.worker, theirs)
        control.start()
        thread = threading.Thread(
            target=lambda: (
                beside.wait_for(lambda driver: driver.asked > 0),
                ours.sendall(encode(Interrupt(FIRST_TASK))),
            )
        )
        thread.start()
        beside.worker.run(beside.entry(FIRST_TASK, sleep_for_ever))
        thread.join()
        ours.shutdown(socket.SHUT_RDWR)
        control.join()
    require_whole(beside)
    assert beside.results[FIRST_TASK] is Kind.FAILED


def test_import_is_not_cut_off_and_the_task_is_struck_behind_it(
    beside: WorkerBesideDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NOTES.clear()
    (tmp_path / "for_import.py").write_text(f"import sys; sys.modules[{__name__!r}].cancel_this()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "for_import", raising=False)
    beside.worker.run(beside.entry(FIRST_TASK, import_something))
    require_whole(beside)
    assert NOTES == ["imported"]
    assert beside.results[FIRST_TASK] is Kind.FAILED


def test_answer_that_crosses_a_cancel_is_thrown_away(beside: WorkerBesideDriver) -> None:
    cancel = cancel_once_waiting(beside, FIRST_TASK, 1)
    beside.worker.run(beside.entry(FIRST_TASK, get_large_that_is_late))
    cancel.join()
    beside.answer_abandoned()
    require_whole(beside)


def test_value_that_cannot_be_rebuilt_keeps_no_others_from_being_let_go(
    beside: WorkerBesideDriver,
) -> None:
    with pytest.raises(flame_remote.DeserializationError, match="SystemExit"):
        get(LARGE, BROKEN, LARGE)
    require_whole(beside)


def test_help_for_a_wait_that_has_ended_is_run_all_the_same(beside: WorkerBesideDriver) -> None:
    beside.help_with(beside.entry(FIRST_TASK, get_small))
    beside.stop()
    beside.worker.serve_inbox()
    require_whole(beside)
    assert beside.results[FIRST_TASK] is Kind.ATOM
