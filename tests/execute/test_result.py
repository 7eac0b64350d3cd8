from __future__ import annotations

import threading
from typing import Any

import pytest

from flame_remote._execute.result import cannot_rebuild, pack_result
from flame_remote._outcome import Kind, Outcome
from flame_remote._wire.packing import Packed, unpack
from flame_remote.exceptions import SerializationError


def test_an_atom_needs_no_packing() -> None:
    assert pack_result(5, "f") == Outcome(Kind.ATOM, 5)


def test_other_values_are_packed() -> None:
    packed = pack_result([1, 2], "f")
    assert isinstance(packed, Packed)
    assert unpack(packed.data) == [1, 2]


def test_a_value_that_cannot_be_sent_names_the_function_and_its_place() -> None:
    def h() -> None:
        pass

    line = h.__code__.co_firstlineno
    with pytest.raises(SerializationError) as caught:
        pack_result([threading.Lock()], "h", h)
    assert str(caught.value).startswith(
        f"the value returned by h() ({__file__}:{line}) cannot be sent: it contains a thread lock"
    )


def test_a_value_that_exits_while_it_is_packed_is_an_error() -> None:
    class Leaving:
        def __reduce__(self) -> Any:
            raise SystemExit(1)

    with pytest.raises(SerializationError, match="raised SystemExit"):
        pack_result(Leaving(), "h")


def test_what_cannot_be_rebuilt_says_what_and_where_and_why() -> None:
    error = cannot_rebuild("the value of f()", "driver", ValueError("no"))
    assert str(error) == "the value of f() could not be rebuilt in the driver: ValueError: no"
    assert isinstance(error.__cause__, ValueError)
