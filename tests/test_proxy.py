"""Lazy proxies of values."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

import flame_remote as flame
from flame_remote import ObjectRef, _refs
from flame_remote._proxy import ref_behind


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    flame.init("inline")
    yield
    flame.shutdown()


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> list[ObjectRef[Any]]:
    """Return a list that every fetched ref is added to."""
    fetched: list[ObjectRef[Any]] = []
    fetch = ObjectRef.get

    def get(ref: ObjectRef[Any], timeout: float | None = None) -> Any:
        fetched.append(ref)
        return fetch(ref, timeout)

    monkeypatch.setattr(ObjectRef, "get", get)
    return fetched


@flame.remote
def kind(value: Any) -> str:
    return type(value).__name__


def test_a_proxy_behaves_as_the_value_and_fetches_it_once(gets: list[Any]) -> None:
    proxy = flame.put({"a": [1, 2]}).proxy()
    assert gets == []
    assert proxy["a"] == [1, 2]
    assert len(proxy) == 1
    assert isinstance(proxy, dict)
    assert proxy == {"a": [1, 2]}
    assert len(gets) == 1


def test_the_first_touch_may_be_a_loop_or_a_call(gets: list[Any]) -> None:
    assert list(flame.put([1, 2]).proxy()) == [1, 2]
    assert [x + 1 for x in flame.put((1, 2)).proxy()] == [2, 3]
    assert flame.put(len).proxy()([1]) == 1
    assert flame.put(3).proxy() + 1 == 4
    assert f"{flame.put(3.14159).proxy():.2f}" == "3.14"
    assert len(gets) == 5


def test_a_proxy_passed_to_a_call_turns_back_into_its_ref(gets: list[Any]) -> None:
    ref = flame.put("text")
    assert flame.get(kind.remote(ref.proxy())) == "str"
    assert flame.get(kind.remote(value=ref.proxy())) == "str"
    assert gets == []


def test_a_proxy_inside_a_container_stays_a_proxy_of_its_ref(gets: list[Any]) -> None:
    @flame.remote
    def first(values: list[Any]) -> tuple[bool, Any]:
        return type(ref_behind(values[0])) is ObjectRef, values[0] + 1

    ref = flame.put(3)
    assert flame.get(first.remote([ref.proxy()])) == (True, 4)
    assert len(gets) == 1  # inside the task


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_pickling_a_proxy_fetches_nothing_and_counts_its_ref(dumps: Any, gets: list[Any]) -> None:
    ref = flame.put(3)
    proxy = ref.proxy()
    with _refs.collecting_refs() as refs:
        data = dumps({"proxy": proxy})
    assert refs == [ref]
    assert gets == []
    again = pickle.loads(data)["proxy"]
    assert ref_behind(again) == ref
    assert again + 1 == 4


def test_get_takes_a_proxy_for_its_ref() -> None:
    ref = flame.put([3])
    assert type(flame.get(ref.proxy())) is list
    assert flame.get([ref.proxy(), ref]) == [[3], [3]]


def test_looking_behind_a_value_fetches_nothing(gets: list[Any]) -> None:
    ref = flame.put(3)
    assert ref_behind(ref.proxy()) is ref
    assert ref_behind(ref) is ref
    assert ref_behind("text") == "text"
    assert gets == []


def test_a_block_whose_end_was_torn_by_an_interrupt_collects_no_more() -> None:
    refs = _refs.collecting_refs().__enter__()  # its __exit__ is never reached
    assert _refs.refs_being_collected() is refs
    del refs  # as its frame does, in the end
    assert _refs.refs_being_collected() is None
    assert isinstance(flame.put({}).proxy(), dict)
