"""as_completed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
def fail() -> None:
    raise ValueError("no")


def test_refs_come_in_the_order_in_which_their_tasks_end() -> None:
    first, second = gate(), gate()
    refs = [second.wait.remote(2), first.wait.remote(1)]
    completed = flame.as_completed(refs)
    first.open.remote()
    assert next(completed) == refs[1]
    second.open.remote()
    assert next(completed) == refs[0]
    assert list(completed) == []


def test_every_ref_comes_once_failed_ones_too() -> None:
    refs = [identity.remote(n) for n in range(500)] + [fail.remote()]
    assert set(flame.as_completed(refs)) == set(refs)


def test_refs_can_be_added_while_the_iteration_goes_on() -> None:
    completed = flame.as_completed([identity.remote(3)])
    seen = []
    for ref in completed:
        value = flame.get(ref)
        seen.append(value)
        if value:
            completed.add(identity.remote(value - 1))
    assert seen == [3, 2, 1, 0]
    assert len(completed) == 0


def test_a_coroutine_can_iterate() -> None:
    async def values() -> list[int]:
        refs = [identity.remote(n) for n in range(20)]
        return sorted([await ref async for ref in flame.as_completed(refs)])

    assert asyncio.run(values()) == list(range(20))


def test_the_time_for_all_of_them_can_be_limited() -> None:
    held = gate()
    pending = held.wait.remote()
    with pytest.raises(flame.GetTimeoutError, match="1 of 1 results not ready"):
        next(flame.as_completed([pending], timeout=0.01))

    async def first() -> Any:
        async for ref in flame.as_completed([pending], timeout=0.01):
            return ref

    with pytest.raises(flame.GetTimeoutError, match="1 of 1 results not ready"):
        asyncio.run(first())
    held.open.remote()
    assert flame.get(pending) == "through"


def test_what_is_no_ref_is_refused() -> None:
    with pytest.raises(flame.RefMisuseError, match=r"as_completed\(\) takes ObjectRefs, not int 1"):
        flame.as_completed([1])  # type: ignore[list-item]
