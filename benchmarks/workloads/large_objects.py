"""100 MB arrays: put, read in a worker, shared by many tasks, returned."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from benchmarks import clock, tasks
from benchmarks.adapter import Adapter, Ref, Submit
from benchmarks.workload import (
    MILLISECONDS,
    TIMES_HIGH,
    TIMES_LOW,
    Measures,
    Size,
    Workload,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGE_BYTES: Final = 100_000_000
QUICK_BYTES: Final = 20_000_000
WARM_UP_ROUNDS: Final = 5
SHARING_TASKS: Final = 50


def random_array(size_bytes: int) -> NDArray[np.float64]:
    import numpy as np

    return np.random.default_rng(0).random(size_bytes // 8)


class PlainCopy:
    """The measure of all copies: one array into another whose pages are already there."""

    def __init__(self, source: NDArray[np.float64]) -> None:
        import numpy as np

        self._copyto = np.copyto
        self._source = source
        self._destination = source.copy()

    def seconds(self) -> float:
        return clock.seconds_of(lambda: self._copyto(self._destination, self._source))


def put_large(system: Adapter, size: Size) -> Measures:
    array = random_array(size(LARGE_BYTES, QUICK_BYTES))
    copy = PlainCopy(array)
    puts, copies = [], []
    with system.started():
        for _ in range(WARM_UP_ROUNDS):
            ref = system.put(array)
            del ref
        for _ in range(size(20, 5)):
            copies.append(copy.seconds())
            start = clock.now()
            ref = system.put(array)
            puts.append(clock.now() - start)
            del ref
    put, plain = statistics.median(puts), statistics.median(copies)
    return {"put_ms": put * 1e3, "copy_ms": plain * 1e3, "share_of_copy_speed": plain / put}


def get_large(system: Adapter, size: Size) -> Measures:
    array = random_array(size(LARGE_BYTES, QUICK_BYTES))
    expected = tasks.touch_pages(array)
    first, again, next_object = [], [], []

    for _ in range(size(3, 1)):
        with system.started(num_cpus=1):  # one worker, so that "again" is again the same one
            submit = system.task(tasks.touch_pages)

            for _ in range(WARM_UP_ROUNDS):
                system.get(submit(array[:1000]))  # starts the worker, loads numpy
            ref = system.put(array)
            first.append(touch_seconds(system, submit, ref, expected))
            again += [touch_seconds(system, submit, ref, expected) for _ in range(10)]
            for _ in range(5):
                ref = system.put(array)
                next_object.append(touch_seconds(system, submit, ref, expected))
            del ref
    return {
        "first_ms": statistics.median(first) * 1e3,
        "again_ms": statistics.median(again) * 1e3,
        "next_object_ms": statistics.median(next_object) * 1e3,
    }


def touch_seconds(system: Adapter, submit: Submit, ref: Ref, expected: int) -> float:
    """Return the seconds from call to result of a task that reads every page."""
    start = clock.now()
    value = system.get(submit(ref))
    seconds = clock.now() - start
    assert value == expected
    return seconds


def share_large(system: Adapter, size: Size) -> Measures:
    array = random_array(size(LARGE_BYTES, QUICK_BYTES))
    expected = [tasks.touch_pages(array)] * SHARING_TASKS
    by_ref, local = [], []
    with system.started():
        submit = system.task(tasks.touch_pages)
        ref = system.put(array)

        def share() -> list[int]:
            return system.gather([submit(ref) for _ in range(SHARING_TASKS)])

        def work() -> list[int]:
            return [tasks.touch_pages(array) for _ in range(SHARING_TASKS)]

        assert share() == work() == expected
        for _ in range(size(10, 3)):
            local.append(clock.seconds_of(work))
            by_ref.append(clock.seconds_of(share))
    total, plain = statistics.median(by_ref), statistics.median(local)
    return {
        "task_ms": total / SHARING_TASKS * 1e3,
        "work_ms": plain / SHARING_TASKS * 1e3,
        "above_work_ms": (total - plain) / SHARING_TASKS * 1e3,
    }


def return_large(system: Adapter, size: Size) -> Measures:
    size_bytes = size(LARGE_BYTES, QUICK_BYTES)
    copy = PlainCopy(random_array(size_bytes))
    returns, touches, copies = [], [], []
    with system.started(num_cpus=1):  # one worker, whose array is made in the warm-up
        submit = system.task(tasks.large_result)
        for _ in range(WARM_UP_ROUNDS):
            array = system.get(submit(size_bytes))
            assert array.nbytes == size_bytes
            del array
        for _ in range(size(20, 5)):
            copies.append(copy.seconds())
            start = clock.now()
            array = system.get(submit(size_bytes))
            returned = clock.now()
            assert tasks.touch_pages(array) == 0  # the low byte of 1.0
            returns.append(returned - start)
            touches.append(clock.now() - start)
            del array
    plain = statistics.median(copies)
    return {
        "return_ms": statistics.median(returns) * 1e3,
        "return_and_touch_ms": statistics.median(touches) * 1e3,
        "copy_ms": plain * 1e3,
        "plain_copies": statistics.median(returns) / plain,
    }


WORKLOADS: Final = (
    Workload(
        "put_large",
        "put of a 100 MB array, store warm, beside a plain copy into a warm array",
        {"put_ms": MILLISECONDS, "copy_ms": MILLISECONDS, "share_of_copy_speed": TIMES_HIGH},
        put_large,
        awake=True,
    ),
    Workload(
        "get_large",
        "a task that takes a 100 MB array by ref and reads a byte of every page, call to result",
        {"first_ms": MILLISECONDS, "again_ms": MILLISECONDS, "next_object_ms": MILLISECONDS},
        get_large,
        awake=True,
    ),
    Workload(
        "share_large",
        "50 tasks that each take the same 100 MB array by ref, beside the same work done here",
        {"task_ms": MILLISECONDS, "work_ms": MILLISECONDS, "above_work_ms": MILLISECONDS},
        share_large,
        awake=True,
    ),
    Workload(
        "return_large",
        "a task that returns a 100 MB array that it has already, beside a plain copy",
        {
            "return_ms": MILLISECONDS,
            "return_and_touch_ms": MILLISECONDS,
            "copy_ms": MILLISECONDS,
            "plain_copies": TIMES_LOW,
        },
        return_large,
        awake=True,
    ),
)
