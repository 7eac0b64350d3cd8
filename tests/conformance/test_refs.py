"""Refs: as arguments, inside values, as handles, and as what they are not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import logging
import pickle
import threading
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def add(a: Any, b: Any = 1) -> Any:
    return a + b


@flame.remote
def fail() -> None:
    raise ValueError("no")


def test_a_ref_as_an_argument_arrives_as_its_value() -> None:
    ref = add.remote(1)
    assert flame.get(add.remote(ref)) == 3
    assert flame.get(add.remote(ref, ref)) == 4
    assert flame.get(add.remote(1, b=ref)) == 3
    assert flame.get(add.remote(flame.put("a"), b=flame.put("b"))) == "ab"


def test_a_chain_of_a_hundred_tasks_ends_with_the_sum() -> None:
    ref = add.remote(0)
    for _ in range(99):
        ref = add.remote(ref)
    assert flame.get(ref) == 100


def test_a_ref_of_what_is_not_there_yet_can_be_an_argument() -> None:
    held = gate()
    ref = add.remote(held.wait.remote(5), b=add.remote(1))
    assert not ref.done()
    held.open.remote()
    assert flame.get(ref) == 7


def test_a_ref_inside_a_container_stays_a_ref() -> None:
    @flame.remote
    def kinds(values: list[Any], named: dict[str, Any]) -> Any:
        return [type(value).__name__ for value in [*values, *named.values()]], flame.get(values)

    refs = [add.remote(1), flame.put(5)]
    assert flame.get(kinds.remote(refs, {"x": refs[0]})) == (["ObjectRef"] * 3, [2, 5])


def test_a_ref_closed_over_by_a_function_is_a_ref_there() -> None:
    ref = flame.put([1, 2, 3])

    @flame.remote
    def total() -> int:
        return sum(flame.get(ref))

    assert flame.get(total.remote()) == 6


def test_a_task_may_return_refs_and_they_can_be_got() -> None:
    @flame.remote
    def spread(n: int) -> list[flame.ObjectRef[int]]:
        return [add.remote(i) for i in range(n)]

    assert flame.get(flame.get(spread.remote(3))) == [1, 2, 3]


def test_a_ref_that_went_through_two_tasks_still_has_its_value() -> None:
    @flame.remote
    def wrap(value: Any) -> list[Any]:
        return [value]

    @flame.remote
    def put_there() -> list[Any]:
        return [flame.put("deep")]

    inner = flame.get(wrap.remote(put_there.remote()))
    assert flame.get(inner[0][0]) == "deep"


def test_a_value_lives_as_long_as_a_ref_inside_another_value_does() -> None:
    outer = flame.put({"inner": flame.put("kept")})
    flame.get(add.remote(1))
    assert flame.get(flame.get(outer)["inner"]) == "kept"


def test_dropping_the_ref_of_a_pending_task_does_not_cancel_it() -> None:
    @flame.remote
    class Journal:
        def __init__(self) -> None:
            self.entries: list[str] = []

        def note(self, entry: str) -> None:
            self.entries.append(entry)

        def read(self) -> list[str]:
            return self.entries

    journal, held = Journal.remote(), gate()
    journal.note.remote(held.wait.remote("written"))  # its ref dies at once
    held.open.remote()
    assert flame.get(journal.read.remote()) == ["written"]


def test_refs_are_equal_if_they_mean_the_same_object() -> None:
    ref = flame.put(1)
    twin = flame.get(flame.put([ref]))[0]
    assert twin == ref
    assert hash(twin) == hash(ref)
    assert flame.put(1) != ref
    assert len({ref, twin, copy.copy(ref), copy.deepcopy(ref)}) == 1


def test_a_ref_pickled_by_hand_keeps_its_value() -> None:
    data = pickle.dumps(flame.put("kept"))
    flame.get(add.remote(1))
    assert flame.get(pickle.loads(data)) == "kept"


def test_a_ref_shows_the_function_it_comes_from_and_how_far_it_is() -> None:
    held = gate()
    pending = add.remote(held.wait.remote())
    assert "add()" in repr(pending)
    held.open.remote()
    assert pending.exception() is not None
    assert "add()" in repr(pending)
    assert "failed" in repr(pending)


def test_get_takes_one_ref_or_any_iterable_and_keeps_its_order() -> None:
    refs = [add.remote(n) for n in range(3)]
    assert flame.get(refs[0]) == 1
    assert flame.get(refs) == [1, 2, 3]
    assert flame.get(tuple(refs)) == (1, 2, 3)
    assert flame.get(ref for ref in refs) == [1, 2, 3]
    assert flame.get({"a": refs[2], "b": refs[0]}) == {"a": 3, "b": 1}
    assert flame.get([]) == []
    assert flame.get([refs[0], refs[0]]) == [1, 1]


def test_result_and_get_are_the_same() -> None:
    ref = add.remote(1)
    assert ref.get() == ref.result() == ref.get(timeout=60) == 2


def test_exception_is_the_error_or_nothing() -> None:
    assert add.remote(1).exception() is None
    assert isinstance(fail.remote().exception(), ValueError)


def test_a_callback_is_called_once_with_the_ref_whether_it_is_done_or_not() -> None:
    held = gate()
    pending, done = add.remote(held.wait.remote(1)), add.remote(2)
    flame.get(done)
    called = []
    both = threading.Event()
    for ref in (pending, done):
        ref.add_done_callback(
            lambda ref: (called.append(ref.get()), len(called) == 2 and both.set())
        )
    held.open.remote()
    assert both.wait(60)
    assert sorted(called) == [2, 3]


def test_a_callback_that_raises_is_logged_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = threading.Event()
    ref = add.remote(1)
    flame.get(ref)
    with caplog.at_level(logging.ERROR):
        ref.add_done_callback(lambda _: 1 / 0)
        ref.add_done_callback(lambda _: called.set())
        assert called.wait(60)
    assert "ZeroDivisionError" in caplog.text
    assert flame.get(add.remote(ref)) == 3


def test_a_future_of_a_ref_gives_the_result_or_the_error() -> None:
    held = gate()
    futures = [add.remote(held.wait.remote(1)).future(), fail.remote().future()]
    held.open.remote()
    assert futures[0].result(timeout=60) == 2
    assert isinstance(futures[1].exception(timeout=60), ValueError)
    assert set(concurrent.futures.wait(futures, timeout=60).done) == set(futures)


def test_refs_can_be_awaited_together() -> None:
    async def main() -> list[int]:
        held = gate()
        waiting = [asyncio.ensure_future(_await(held.wait.remote(n))) for n in range(3)]
        await held.open.remote()
        return await asyncio.gather(*waiting, _await(add.remote(9)))

    assert asyncio.run(main()) == [0, 1, 2, 10]


async def _await(ref: Any) -> Any:
    return await ref


def test_awaiting_a_failed_task_raises_its_error() -> None:
    async def main() -> None:
        await fail.remote()

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())


def test_giving_up_on_an_awaited_ref_leaves_the_task_alone() -> None:
    async def main() -> str:
        held = gate()
        ref = held.wait.remote("after all")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_await(ref), timeout=0.01)
        await held.open.remote()
        return str(await ref)

    assert asyncio.run(main()) == "after all"


def test_a_proxy_behaves_as_the_value_and_travels_as_the_ref() -> None:
    @flame.remote
    def text(value: Any, inside: list[Any]) -> str:
        return f"{type(value).__name__} {inside[0] + 1}"

    proxy = add.remote(1).proxy()
    assert proxy + 1 == 3
    assert [proxy, 5] == [2, 5]
    assert isinstance(proxy, int)
    assert flame.get(text.remote(proxy, [proxy])) == "int 3"


def test_a_proxy_of_a_failed_task_raises_at_first_touch() -> None:
    proxy = fail.remote().proxy()
    with pytest.raises(ValueError, match="no"):
        len(proxy)


def test_an_error_shows_the_same_few_frames_however_it_is_asked_for() -> None:
    ref = fail.remote()
    frames = []
    for ask in (lambda: flame.get(ref), lambda: ref.get(), lambda: ref.result()):
        with pytest.raises(ValueError, match="no") as caught:
            ask()
        files = [str(entry.path) for entry in caught.traceback]
        frames.append(sum("flame_remote" in file and "tests" not in file for file in files))
    assert frames == [1, 1, 1]
