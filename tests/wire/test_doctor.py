"""What is said about values that cannot be sent. The texts are made to be read: they are golden."""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import functools
import socket
import sqlite3
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from flame_remote._wire.doctor import cause_worth_showing, diagnose
from flame_remote._wire.packing import pack
from flame_remote.exceptions import SerializationError

CANNOT = "which cannot be sent to another process"
CREATE = "create it inside the task, or keep it in an actor"

LOCK = threading.Lock()


def told(value: object) -> str:
    """Return what is said about a value."""
    with pytest.raises(SerializationError) as caught:
        pack(value, lambda: "it")
    return str(caught.value).removeprefix("it ")


class Client:
    def __init__(self) -> None:
        self._lock = threading.RLock()


class WithSlots:
    __slots__ = ("event", "never_set")

    def __init__(self) -> None:
        self.event = threading.Event()


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Box:
    content: Any


class Refusing:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class WithState:
    def __getstate__(self) -> dict[str, Any]:
        return {"made": threading.Lock()}


def test_the_value_itself_may_be_the_culprit() -> None:
    assert told(threading.Lock()) == f"is a thread lock, {CANNOT}; {CREATE}"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"cfg": Client()}, "['cfg']._lock"),
        ([1, (2, {"x": [LOCK]})], "[1][1]['x'][0]"),
        (Pair(1, LOCK), ".right"),
        (Box(Box([LOCK])), ".content.content[0]"),
        (collections.deque([1, LOCK]), "[1]"),
        (collections.OrderedDict(a=LOCK), "['a']"),
        (ValueError("x", LOCK), ".args[1]"),
        (functools.partial(print, 1, end=LOCK), ".keywords['end']"),
        (np.array([1, LOCK], dtype=object), ".flat[1]"),
        (WithState(), ".made"),
        ({"x" * 100: LOCK}, "['" + "x" * 39 + "...]"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_the_way_to_the_culprit_is_told(value: object, path: str) -> None:
    assert told(value) == f"contains a thread lock at {path}, {CANNOT}; {CREATE}"


def test_the_way_through_slots_is_told() -> None:
    assert told([WithSlots()]).startswith("contains a threading.Event at [0].event, which")


def test_a_culprit_in_a_set_or_among_keys_is_told() -> None:
    assert told({1, LOCK}).startswith("contains a thread lock (as an element), which cannot")
    assert told({LOCK: 1}).startswith("contains a thread lock (as a key), which cannot")


def test_the_global_that_a_function_uses_is_told_with_its_line() -> None:
    from tests.wire import functions_for_doctor as functions

    by_value = functions.without_a_home(functions.uses_a_global)
    place = f"{functions.__file__}:{functions.uses_a_global.__code__.co_firstlineno + 2}"
    assert told(by_value) == (
        f"uses the global 'LOCK' ({place}), a thread lock, {CANNOT}; {CREATE}"
    )


def test_what_a_function_closes_over_is_told() -> None:
    connection = sqlite3.connect(":memory:")

    def query() -> Any:
        return connection

    assert told(query) == f"closes over 'connection', a database connection, {CANNOT}; {CREATE}"
    assert told([query]) == (
        "contains the function query() at [0], which closes over 'connection', "
        f"a database connection, {CANNOT}; {CREATE}"
    )
    connection.close()


def test_what_lies_in_what_a_function_closes_over_is_told() -> None:
    config = {"client": Client()}

    def use() -> Any:
        return config

    assert told(use) == (
        "closes over 'config', which contains a thread lock at ['client']._lock, "
        f"{CANNOT}; {CREATE}"
    )


def test_the_default_of_a_parameter_is_told() -> None:
    def use(x: int, lock: Any = threading.Lock(), *, other: Any = 1) -> None:  # noqa: B008
        pass

    assert told(use).startswith("has a default for 'lock', a thread lock, which cannot")


def test_a_method_of_a_local_class_is_told() -> None:
    lock = threading.Lock()

    class Local:
        def method(self) -> Any:
            return lock

    for value in (Local, Local(), Local().method):
        assert "the function method()" in told(value)
        assert "closes over 'lock', a thread lock" in told(value)


@pytest.mark.parametrize(
    ("make", "name", "advice"),
    [
        (lambda: (n for n in ()), "a generator", "pass list(...) of it"),
        (lambda: weakref.ref(Client), "a weak reference", "pass the object itself"),
        (lambda: ctypes.pointer(ctypes.c_int(1)), "a ctypes pointer", "the data it points to"),
        (lambda: threading.current_thread(), "a thread", CREATE),
        (lambda: threading.local(), "thread-local data", CREATE),
    ],
)
def test_kinds_have_names_and_advice_of_their_own(
    make: Callable[[], object], name: str, advice: str
) -> None:
    text = told([make()])
    assert text.startswith(f"contains {name} at [0], which cannot")
    assert advice in text


def test_a_socket_and_an_open_file_have_names() -> None:
    with socket.socket() as plug, open("/dev/null", "w") as file:
        assert told(plug).startswith("is a socket, which cannot")
        assert told({"log": file}).startswith("contains an open file at ['log'], which cannot")
        assert "pass its path" in told(file)


def test_an_object_that_refuses_is_named_with_its_reason() -> None:
    assert told([Refusing()]) == (
        f"contains a Refusing object at [0], {CANNOT} (RuntimeError: not me); {CREATE}"
    )


def test_the_users_own_error_is_the_cause_and_ours_are_not() -> None:
    with pytest.raises(SerializationError) as caught:
        pack(Refusing(), lambda: "it")
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(SerializationError) as caught:
        pack([LOCK], lambda: "it")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert cause_worth_showing(ValueError("never raised")) is None


def test_what_is_nested_too_deeply_is_told_so() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in told(deep)


def test_a_culprit_below_a_circle_is_found() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    circle["others"] = [circle, LOCK]
    assert told(circle).startswith("contains a thread lock at ['others'][1], which")


def test_a_culprit_at_the_end_of_a_long_list_is_found() -> None:
    assert told([*range(100_000), LOCK]).startswith("contains a thread lock at [100000], which")


def test_an_endless_way_is_given_up() -> None:
    class Endless:
        @property
        def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
            return {"next": Endless()}

        def __reduce__(self) -> Any:
            raise RuntimeError("never")

    assert "cannot be sent to another process" in told(Endless())


def test_a_hostile_object_cannot_make_the_doctor_raise() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("refused")

    assert "cannot be sent to another process" in told([Hostile()])
    assert "cannot be sent" in diagnose(Hostile(), RuntimeError("x"))


def test_a_value_that_could_be_sent_after_all_is_told_by_the_error() -> None:
    text = diagnose([1, 2], ValueError("something else"))
    assert text.startswith("is a list object, which cannot be sent to another process")
    assert "ValueError: something else" in text
