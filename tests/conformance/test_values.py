"""Values on their way to a task and back: all kinds arrive, as themselves, and as copies."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine_of_file")


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Box:
    name: str
    parts: list[Any] = dataclasses.field(default_factory=list)


VALUES = [
    None,
    True,
    0,
    -(2**70),
    3.5,
    float("inf"),
    2j,
    "",
    "text",
    "ä" * 5000,
    "\ud800",
    b"",
    b"bytes" * 1000,
    bytearray(b"abc"),
    (),
    (1, (2, (3,))),
    [1, "two", [3.0]],
    {"a": {"b": {1: None}}},
    {1, 2, 3},
    frozenset({"x"}),
    range(3, 30, 3),
    slice(1, 2),
    Ellipsis,
    NotImplemented,
    int,
    len,
    datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
    decimal.Decimal("1.10"),
    pathlib.PurePosixPath("a/b"),
    re.compile("a+"),
    collections.OrderedDict(b=1, a=2),
    collections.Counter("abca"),
    collections.deque([1, 2], maxlen=3),
    Colour.RED,
    Point(1, 2),
    Box("box", [Box("inner")]),
    ValueError("an error as a value"),
]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, BaseException):
        return type(left) is type(right) and left.args == right.args
    return type(left) is type(right) and bool(left == right)


@pytest.fixture
def echo() -> Callable[[Any], Any]:
    remote: Any = flame.remote(lambda value: value)
    return lambda value: flame.get(remote.remote(value))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_from_a_task_as_itself(
    echo: Callable[[Any], Any], value: object
) -> None:
    assert same(echo(value), value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_that_was_put_is_got_as_itself(value: object) -> None:
    assert same(flame.get(flame.put(value)), value)


def test_nan_stays_nan(echo: Callable[[Any], Any]) -> None:
    assert echo(float("nan")) != echo(float("nan"))


def test_ten_megabytes_arrive_both_ways(echo: Callable[[Any], Any]) -> None:
    data = bytes(range(256)) * 40_000
    assert echo(data) == data
    assert flame.get(flame.put(data)) == data


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 3_000_000])
def test_an_array_of_any_size_arrives_both_ways(echo: Callable[[Any], Any], size: int) -> None:
    array = np.arange(size, dtype=np.float64)
    assert np.array_equal(echo(array), array)
    assert np.array_equal(flame.get(flame.put(array)), array)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(300_000).reshape(300, 1000).T,
        np.arange(300_000)[::3],
        np.array(5.0),
        np.array(["a", None, 3], dtype=object),
        np.zeros(4, dtype=[("x", "i4"), ("y", "f8")]),
        np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
        np.arange(1000).view(np.recarray),
    ],
    ids=["transposed", "strided", "scalar", "objects", "structured", "masked", "subclass"],
)
def test_an_array_of_any_layout_arrives(echo: Callable[[Any], Any], array: Any) -> None:
    got = echo(array)
    assert type(got) is type(array)
    assert got.dtype == array.dtype
    assert np.array_equal(np.asarray(got), np.asarray(array))


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_an_array_is_writable_wherever_it_arrives_and_nobody_else_sees_it(size: int) -> None:
    @flame.remote
    def fill(array: Any) -> Any:
        array[:] = 7
        return array

    array = np.zeros(size)
    ref = flame.put(array)
    array[0] = 1  # after put: must not be seen
    changed = flame.get(fill.remote(ref))
    changed[0] = 8
    mine = flame.get(ref)
    mine[:] = 9
    assert flame.get(ref).max() == 0
    assert flame.get(fill.remote(array)).min() == 7
    assert array.sum() == 1


def test_two_gets_of_one_ref_share_nothing() -> None:
    ref = flame.put([1, [2]])
    first, second = flame.get([ref, ref])
    first[1].append(3)
    assert second == [1, [2]]
    assert flame.get(ref) == [1, [2]]


def test_buffers_of_several_arrays_in_one_value_are_not_mixed_up(
    echo: Callable[[Any], Any],
) -> None:
    arrays = {n: np.full(50_000 + n, n) for n in range(20)}
    got = echo(arrays)
    assert all(np.array_equal(got[n], arrays[n]) for n in arrays)


def test_a_read_only_array_stays_right(echo: Callable[[Any], Any]) -> None:
    array = np.arange(100_000)
    array.flags.writeable = False
    assert np.array_equal(echo(array), array)


def test_a_class_that_is_known_nowhere_else_comes_back_as_itself(
    echo: Callable[[Any], Any],
) -> None:
    @dataclasses.dataclass
    class Local:
        x: int

        def doubled(self) -> int:
            return 2 * self.x

    got = echo(Local(4))
    assert type(got) is Local
    assert got == Local(4)
    assert got.doubled() == 8


def test_an_object_that_contains_itself_arrives(echo: Callable[[Any], Any]) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    got = echo(loop)
    assert got[0] == 1
    assert got[1] is got


def test_a_value_nested_100000_deep_is_an_error_or_arrives_but_never_a_crash(
    echo: Callable[[Any], Any],
) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(flame.SerializationError, match="nested too deeply"):
        echo(deep)
    assert echo("still") == "still"


def test_a_value_that_cannot_be_rebuilt_fails_each_get_and_no_other() -> None:
    @flame.remote
    def make() -> Any:
        class Stubborn:
            def __getstate__(self) -> dict[str, int]:
                return {"x": 1}

            def __setstate__(self, state: object) -> None:
                raise RuntimeError("will not be rebuilt")

        return Stubborn()

    bad, good = make.remote(), flame.put(1)
    for _ in range(2):
        with pytest.raises(flame.DeserializationError, match="will not be rebuilt") as caught:
            flame.get([bad, good])
        assert caught.value.where == "driver"
    assert flame.get(good) == 1


def test_an_argument_that_cannot_be_rebuilt_fails_that_task_and_no_other() -> None:
    class Stubborn:
        def __getstate__(self) -> dict[str, int]:
            return {"x": 1}

        def __setstate__(self, state: object) -> None:
            raise RuntimeError("will not be rebuilt")

    @flame.remote
    def take(value: object) -> str:
        return "taken"

    bad, good = take.remote(Stubborn()), take.remote(1)
    with pytest.raises(flame.DeserializationError, match="will not be rebuilt") as caught:
        flame.get(bad)
    assert caught.value.where == "worker"
    assert flame.get(good) == "taken"
