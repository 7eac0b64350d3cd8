from __future__ import annotations

import threading

import pytest

from flame_remote._wire.arguments import are_numbers, pack_arguments, unpack_arguments
from flame_remote._wire.packing import Packed
from flame_remote.exceptions import SerializationError


def test_atoms_travel_as_they_are() -> None:
    arguments = pack_arguments((1, "a", None, 2.5), {}, "f")
    assert arguments.payload == (1, "a", None, 2.5)
    assert unpack_arguments((1, "a", None, 2.5), ()) == ((1, "a", None, 2.5), {})


def test_other_arguments_come_back_equal() -> None:
    arguments = pack_arguments(([1], {"a": 2}), {"k": (3,)}, "f")
    assert isinstance(arguments.payload, bytes)
    assert unpack_arguments(arguments.payload, ()) == (([1], {"a": 2}), {"k": (3,)})


def test_large_arguments_are_left_for_the_store() -> None:
    arguments = pack_arguments((b"x" * 1_000_000,), {}, "f")
    assert isinstance(arguments.payload, Packed)


def test_values_of_dependencies_take_their_places() -> None:
    assert unpack_arguments((1, None), [(1, "b")]) == ((1, "b"), {})
    assert unpack_arguments(None, [("k", 5), ("*", ([1, None], {"k": None})), (1, 2)]) == (
        (1, 2),
        {"k": 5},
    )


def test_numbers_are_told_from_everything_else() -> None:
    assert are_numbers((1, 2.5, True, None, 2j))
    assert not are_numbers((1, "a"))


@pytest.mark.parametrize(
    ("args", "kwargs", "name"),
    [
        ((threading.Lock(),), {}, "argument 1 ('x') of f() is a thread lock"),
        ((1, [threading.Lock()]), {}, "argument 2 ('lock') of f() contains a thread lock at [0]"),
        ((1, 2, threading.Lock()), {}, "argument 3 of f() is a thread lock"),
        ((1,), {"k": threading.Lock()}, "argument 'k' of f() is a thread lock"),
    ],
)
def test_the_argument_that_cannot_be_sent_is_named(
    args: tuple[object, ...], kwargs: dict[str, object], name: str
) -> None:
    with pytest.raises(SerializationError) as caught:
        pack_arguments(args, kwargs, "f", ("x", "lock"))
    assert str(caught.value).startswith(name)
