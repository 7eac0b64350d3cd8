"""Objects: freed by hand, known weakly, read-only, stored once; their makers' ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy
import pytest

import flame_remote as flame

from .helpers import gate


@flame.remote
def total(array: Any, *_: Any) -> float:
    return float(numpy.sum(array))


@flame.remote
class Maker:
    def make(self) -> tuple[int, Any, Any]:
        return os.getpid(), flame.put(numpy.ones(100_000)), flame.put("small")

    def result(self) -> Any:
        return numpy.full(100_000, 2.0)


@pytest.mark.usefixtures("engine")
def test_a_freed_value_is_gone_for_get_and_for_tasks() -> None:
    for value in (numpy.ones(100_000), [1, 2]):
        ref = flame.put(value)
        flame.free(ref)
        with pytest.raises(flame.ObjectFreedError, match="free"):
            flame.get(ref)
        with pytest.raises(flame.ObjectFreedError):
            flame.get(total.remote(ref))
        flame.free([ref])  # nothing to do


@pytest.mark.usefixtures("engine")
def test_a_result_that_is_freed_before_it_is_there_is_thrown_away() -> None:
    held = gate()
    ref = total.remote(held.wait.remote(5))
    flame.free(ref)
    held.open.remote()
    with pytest.raises(flame.ObjectFreedError):
        flame.get(ref)


@pytest.mark.usefixtures("engine")
def test_a_call_that_waits_for_a_worker_fails_if_its_argument_is_freed() -> None:
    held = gate()
    array = flame.put(numpy.ones(100_000))
    waiting = total.remote(array, held.wait.remote())
    flame.free(array)
    held.open.remote()
    with pytest.raises(flame.ObjectFreedError):
        flame.get(waiting)


@pytest.mark.usefixtures("engine")
def test_refs_inside_a_freed_value_are_let_go() -> None:
    inner = flame.put("inner")
    weak = inner.weak()
    outer = flame.put([inner])
    del inner
    assert weak() is not None
    flame.free(outer)
    assert weak() is None


@pytest.mark.usefixtures("engine")
def test_an_array_that_is_being_read_survives_its_freeing() -> None:
    ref = flame.put(numpy.arange(100_000))
    array = flame.get(ref)
    flame.free(ref)
    more = [flame.put(numpy.zeros(100_000)) for _ in range(3)]
    assert (array == numpy.arange(100_000)).all()
    del more


@pytest.mark.usefixtures("engine")
def test_a_task_can_free_what_it_was_given() -> None:
    @flame.remote
    def free_all(refs: list[Any]) -> None:
        flame.free(refs)

    ref = flame.put([1])
    flame.get(free_all.remote([ref]))
    with pytest.raises(flame.ObjectFreedError):
        flame.get(ref)


@pytest.mark.usefixtures("engine")
def test_what_is_no_ref_cannot_be_freed() -> None:
    with pytest.raises(flame.RefMisuseError):
        flame.free(3)  # type: ignore[arg-type]


@pytest.mark.usefixtures("engine")
def test_a_weak_ref_finds_the_object_as_long_as_somebody_refers_to_it() -> None:
    ref = flame.put("value")
    weak = flame.WeakRef(ref)
    assert weak == ref.weak()
    again = weak()
    assert again == ref
    del ref
    assert flame.get(weak()) == "value"  # type: ignore[call-overload]
    del again
    assert weak() is None
    with pytest.raises(TypeError):
        flame.WeakRef(3)  # type: ignore[arg-type]


@pytest.mark.usefixtures("engine")
def test_a_weak_ref_can_be_passed_to_a_task_and_keeps_nothing() -> None:
    @flame.remote
    def value_of(weak: Any) -> Any:
        ref = weak()
        return None if ref is None else flame.get(ref)

    ref = flame.put("value")
    weak = ref.weak()
    assert flame.get(value_of.remote(weak)) == "value"
    del ref
    assert flame.get(value_of.remote(weak)) is None


@pytest.mark.usefixtures("engine")
def test_arrays_can_be_written_to_unless_they_are_wanted_read_only() -> None:
    for array in (numpy.ones(100_000), numpy.ones(3), numpy.ones((4, 4))[:, 1]):
        ref = flame.put(array)
        assert not flame.get(ref, readonly=True).flags.writeable
        assert not flame.get([{"a": ref}["a"]], readonly=True)[0].flags.writeable
        mine = flame.get(ref)
        mine[0] = 7
        assert flame.get(ref)[0] == 1


@pytest.mark.usefixtures("engine")
def test_an_argument_that_changes_between_two_calls_arrives_as_it_was_at_each() -> None:
    held = gate()
    opened = held.wait.remote()
    array, both = numpy.ones(100_000), {"array": numpy.ones(100_000)}
    first = [total.remote(array, opened), total.remote(both["array"], opened)]
    array[:10] = 3
    both["array"] = numpy.zeros(100_000)
    second = [total.remote(array, opened), total.remote(both["array"], opened)]
    held.open.remote()
    assert flame.get([*first, *second]) == [100_000, 100_000, 100_020, 0]


@pytest.fixture
def embedded() -> Any:
    """Run on an embedded engine; its tables."""
    with flame.init(engine="embedded", num_cpus=2) as session:
        yield session._engine._core  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "large",
    [numpy.ones(125_000), {"a": numpy.ones(125_000), "b": [1, 2]}, bytes(1_000_000)],
    ids=["array", "dict", "bytes"],
)
def test_a_large_argument_of_many_calls_is_stored_once(embedded: Any, large: Any) -> None:
    @flame.remote
    def size(_: Any, value: Any, number: int) -> tuple[int, int]:
        return len(value), number

    held = gate()
    opened = held.wait.remote()
    refs = [size.remote(opened, large, number) for number in range(100)]
    assert 1_000_000 <= sum(embedded.segments._live_bytes.values()) < 1_100_000
    held.open.remote()
    assert flame.get(refs) == [(len(large), number) for number in range(100)]


def test_parts_that_arguments_share_stay_shared(embedded: Any) -> None:
    @flame.remote
    def write(one: Any, other: Any) -> bool:
        one["array"][0] = 9
        return bool(other["array"][0] == 9)

    array = numpy.ones(100_000)
    assert flame.get(write.remote({"array": array}, {"array": array}))


def test_what_a_process_has_made_outlives_its_death(embedded: Any) -> None:
    maker = Maker.remote()
    pid, large, small = flame.get(maker.make.remote())
    result = maker.result.remote()
    result.wait()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(flame.ActorDiedError):
        flame.get([maker.make.remote() for _ in range(2)])
    assert flame.get(large).sum() == 100_000
    assert flame.get(small) == "small"
    assert flame.get(result).sum() == 200_000
    assert flame.get(total.remote(result)) == 200_000
