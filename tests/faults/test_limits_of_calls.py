"""What the embedded engine does to calls that take too long, and which it takes first."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import flame_remote as flame

from ..conformance.helpers import gate

LONG = 30.0
SOON = 0.1


@pytest.fixture(autouse=True)
def engine() -> Any:
    with flame.init(num_cpus=1, resources={"only": 1}):
        yield


def test_a_call_that_runs_too_long_is_interrupted() -> None:
    @flame.remote(timeout=SOON)
    def sleep() -> None:
        time.sleep(LONG)

    with pytest.raises(flame.TaskTimeoutError):
        flame.get(sleep.remote(), timeout=LONG / 2)


def test_a_worker_that_does_not_react_is_killed_and_others_go_on() -> None:
    @flame.remote(timeout=SOON, max_retries=-1)
    def deaf() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        time.sleep(LONG)

    @flame.remote
    def pid() -> int:
        return os.getpid()

    before = flame.get(pid.remote())
    with pytest.raises(flame.TaskTimeoutError):
        flame.get(deaf.remote(), timeout=LONG / 2)
    assert flame.get(pid.remote()) != before


def test_time_in_the_queue_is_no_running_time() -> None:
    @flame.remote(timeout=4 * SOON)
    def work() -> str:
        time.sleep(SOON)
        return "done"

    assert flame.get([work.remote() for _ in range(8)]) == ["done"] * 8


def test_a_call_that_waits_for_a_worker_is_over_at_its_deadline() -> None:
    @flame.remote
    def hold(gate: Any) -> Any:
        return flame.get(gate.wait.remote())

    @flame.remote(resources={"only": 1})
    def never() -> None:
        pass

    opened = gate()
    holds = hold.options(resources={"only": 1}).remote(opened)
    with pytest.raises(flame.DeadlineExceededError):
        flame.get(never.options(deadline=SOON).remote())
    flame.get(opened.open.remote())
    assert flame.get(holds) == "through"


def test_calls_below_a_call_with_a_deadline_end_with_it_and_say_whose_it_was() -> None:
    refs: Any = flame.remote(_Box).remote()

    @flame.remote
    def child() -> None:
        time.sleep(LONG)

    @flame.remote
    def parent(box: Any) -> None:
        ref = child.remote()
        flame.get(box.keep.remote([ref]))
        flame.get(ref)

    with pytest.raises(flame.DeadlineExceededError):
        flame.get(parent.options(deadline=4 * SOON).remote(refs), timeout=LONG / 2)
    (kept,) = flame.get(refs.kept.remote())
    with pytest.raises(flame.DeadlineExceededError) as caught:
        flame.get(kept, timeout=LONG / 2)
    assert str(caught.value) == (
        "child() did not end within the deadline of 0.4 s that parent() had, in which it ran"
    )


def test_urgent_calls_run_first_and_equals_in_their_order() -> None:
    box: Any = flame.remote(_Box).remote()

    @flame.remote
    def note(box: Any, what: str) -> None:
        flame.get(box.add.remote(what))

    @flame.remote
    def parent(box: Any, note: Any, opened: Any, what: str) -> None:
        flame.get(opened.wait.remote())
        flame.get([note.remote(box, f"{what} {n}") for n in range(2)])

    opened = gate()
    first = parent.options(priority=1).remote(box, note, opened, "child")
    ready = opened.wait.remote("unblocked")
    calls = [note.remote(box, f"plain {n}") for n in range(2)]
    calls += [note.options(priority=5).remote(box, "urgent")]
    calls += [note.options(priority=-5).remote(box, "idle")]
    flame.get(opened.open.remote())
    flame.get([first, ready, *calls])
    order = flame.get(box.kept.remote())
    assert order.index("urgent") < order.index("idle")
    assert order.index("plain 0") < order.index("plain 1") < order.index("idle")


def test_a_call_between_two_attempts_holds_no_cpu_and_can_be_cancelled() -> None:
    @flame.remote(retries=flame.Retry(99, delay=LONG))
    def fails(box: Any) -> None:
        flame.get(box.add.remote("tried"))
        raise ValueError("again")

    @flame.remote
    def other() -> str:
        return "ran"

    box: Any = flame.remote(_Box).remote()
    ref = fails.remote(box)
    while not flame.get(box.kept.remote()):
        pass
    assert flame.get(other.remote()) == "ran"
    assert flame.cancel(ref)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    assert flame.get(box.kept.remote()) == ["tried"]


def test_a_process_is_replaced_after_so_many_calls() -> None:
    @flame.remote(max_calls=3)
    def pid() -> int:
        return os.getpid()

    pids = flame.get([pid.remote() for _ in range(9)])
    assert [pids.count(one) for one in dict.fromkeys(pids)] == [3, 3, 3]


class _Box:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        self.values.append(value)

    def keep(self, values: list[Any]) -> None:
        self.values += values

    def kept(self) -> list[Any]:
        return self.values
