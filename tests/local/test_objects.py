from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from flame_remote._execute.failure import encode_failure
from flame_remote._local.objects import ObjectTable, StoredObject, held_by, report_all_unread
from flame_remote._outcome import Kind
from flame_remote._spec import Demand, Target, TargetKind, TaskSpec

ATOM, STORED, FAILED = int(Kind.ATOM), int(Kind.STORED), int(Kind.FAILED)
LOCATION = (1 << 20, 4096, 8192, None)


@pytest.fixture
def table() -> ObjectTable:
    return ObjectTable()


def add_value(
    table: ObjectTable, object_id: int, kind: int = ATOM, data: Any = 0, refs: tuple[int, ...] = ()
) -> StoredObject:
    """Put a value that one ref holds."""
    stored = table.by_id[object_id] = StoredObject("")
    table.settle(object_id, kind, data, refs)
    return stored


def add_task(
    table: ObjectTable,
    task_id: int,
    *,
    dependencies: tuple[int, ...] = (),
    nested: tuple[int, ...] = (),
    actor: int = 0,
    kind: TargetKind = TargetKind.FUNCTION,
) -> StoredObject:
    """Submit a call whose result one ref holds."""
    target = Target(1, kind, "work", b"", Demand(), 0)
    spec = TaskSpec(task_id, target, (), tuple(enumerate(dependencies)), nested, actor)
    stored = table.by_id[task_id] = StoredObject("work", spec)
    table.hold(held_by(spec))
    return stored


def test_value_is_freed_when_its_last_holder_lets_go(table: ObjectTable) -> None:
    add_value(table, 1, STORED, LOCATION)
    table.hold([1])
    table.release([1])
    assert not table.freed
    table.release([1])
    assert list(table.freed) == [LOCATION]
    assert table.by_id == {}


def test_events_of_refs_are_taken_in_order(table: ObjectTable) -> None:
    add_value(table, 1)
    events = deque([-1, 1, 1, -1])
    table.apply(events, 2)
    assert table.by_id[1].count == 1
    table.apply(events, 1)
    assert table.by_id == {}
    assert events == deque([-1])


def test_events_of_unknown_objects_do_nothing(table: ObjectTable) -> None:
    table.apply(deque([5, -5]), 2)
    table.release([5])
    table.unpin(5)
    assert table.by_id == {}


def test_chain_of_nested_refs_is_freed_without_recursion(table: ObjectTable) -> None:
    length = 100_000
    for object_id in range(1, length + 1):
        add_value(table, object_id, refs=(object_id - 1,) if object_id > 1 else ())
    table.apply(deque(range(1, length)), length - 1)  # all refs but that of the last
    assert len(table.by_id) == length
    table.release([length])
    assert table.by_id == {}


def test_value_inside_two_others_lives_as_long_as_one_of_them(table: ObjectTable) -> None:
    add_value(table, 1)
    add_value(table, 2, refs=(1,))
    add_value(table, 3, refs=(1, 1))
    table.release([1])
    table.release([3])
    assert set(table.by_id) == {1, 2}
    table.release([2])
    assert table.by_id == {}


def test_pinned_value_stays_until_its_last_reader_is_done(table: ObjectTable) -> None:
    stored = add_value(table, 1, STORED, LOCATION)
    stored.pins = 2
    table.release([1])
    table.unpin(1)
    assert not table.freed
    table.unpin(1)
    assert list(table.freed) == [LOCATION]


def test_value_that_is_held_outlives_its_readers(table: ObjectTable) -> None:
    add_value(table, 1, STORED, LOCATION).pins = 1
    table.unpin(1)
    assert 1 in table.by_id


def test_task_holds_its_arguments_until_it_ends(table: ObjectTable) -> None:
    for object_id in (1, 2, 3):
        add_value(table, object_id)
    add_task(table, 4, dependencies=(1,), nested=(2,), actor=3)
    table.release([1, 2, 3])
    assert set(table.by_id) == {1, 2, 3, 4}
    table.settle(4, ATOM, "result", ())
    assert set(table.by_id) == {4}


def test_refs_inside_a_result_are_counted_before_the_arguments_are_let_go(
    table: ObjectTable,
) -> None:
    add_value(table, 1)
    add_task(table, 2, nested=(1,))
    table.release([1])
    table.settle(2, ATOM, "holds 1", (1,))  # a task that returns the ref that it was given
    assert set(table.by_id) == {1, 2}
    table.release([2])
    assert table.by_id == {}


def test_pending_task_that_nobody_waits_for_runs_on(table: ObjectTable) -> None:
    add_task(table, 1)
    table.release([1])
    assert 1 in table.by_id
    table.settle(1, STORED, LOCATION, ())
    assert table.by_id == {}
    assert list(table.freed) == [LOCATION]


def test_actor_without_handles_is_told_of(table: ObjectTable) -> None:
    add_task(table, 1, kind=TargetKind.ACTOR)
    table.settle(1, ATOM, None, ())
    table.hold([1])
    table.release([1])
    assert not table.gone
    table.release([1])
    assert list(table.gone) == [1]


def test_actor_without_handles_is_told_of_before_it_is_constructed(table: ObjectTable) -> None:
    add_task(table, 1, kind=TargetKind.ACTOR)
    table.release([1])
    assert list(table.gone) == [1]
    assert 1 in table.by_id


def test_everybody_who_waits_is_told_once(table: ObjectTable) -> None:
    told: list[tuple[str, int, int]] = []

    class Waiting:
        def __init__(self, name: str) -> None:
            self.name = name

        def note(self, object_id: int, stored: StoredObject) -> None:
            told.append((self.name, object_id, stored.kind))

    stored = add_task(table, 1)
    stored.watchers = [Waiting("a"), Waiting("b")]
    table.settle(1, ATOM, 5, ())
    assert told == [("a", 1, ATOM), ("b", 1, ATOM)]
    assert stored.watchers is None


def test_error_that_nobody_looked_at_is_reported(
    table: ObjectTable, caplog: pytest.LogCaptureFixture
) -> None:
    error = encode_failure(ValueError("lost"), "work", 1, 2)
    add_task(table, 1)
    add_task(table, 2)
    table.settle(1, FAILED, error, ())
    table.settle(2, FAILED, error, ())
    table.by_id[2].was_read = True
    table.release([1, 2])
    assert list(table.unread) == [error]
    report_all_unread(table.unread)
    assert "lost" in caplog.text
    assert not table.unread


def test_hundred_thousand_pending_objects_are_small() -> None:
    assert not hasattr(StoredObject(""), "__dict__")
