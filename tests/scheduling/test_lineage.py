"""Who started whom."""

from __future__ import annotations

from flame_remote._scheduling.lineage import Lineage


def test_descendants_are_those_of_children_too() -> None:
    lineage = Lineage()
    lineage.add(2, 1)
    lineage.add(3, 2)
    lineage.add(4, 1)
    assert sorted(lineage.descendants(1)) == [2, 3, 4]
    assert lineage.descendants(3) == []
    assert lineage.descendants(99) == []


def test_a_task_that_ends_leaves_its_children_to_its_parent() -> None:
    lineage = Lineage()
    lineage.add(2, 1)
    lineage.add(3, 2)
    lineage.ended(2)
    assert lineage.descendants(1) == [3]


def test_a_chain_of_tasks_that_start_each_other_leaves_nothing_behind() -> None:
    lineage = Lineage()
    for task in range(1, 1000):
        lineage.add(task + 1, task)
        lineage.ended(task)
    assert len(lineage.nodes) == 1
    lineage.ended(1000)
    assert lineage.nodes == {}


def test_what_a_cancelled_task_starts_is_doomed() -> None:
    lineage = Lineage()
    lineage.add(2, 1)
    assert lineage.cancel(1) == [2]
    lineage.add(3, 2)
    lineage.add(4, 1)
    assert list(lineage.doomed) == [3, 4]


def test_a_scope_whose_task_ends_without_closing_it_dooms_what_is_in_it() -> None:
    lineage = Lineage()
    lineage.open_scope(10, 1, None, stops=True)
    lineage.add(2, 10)
    lineage.add(3, 2)
    lineage.ended(1)
    assert list(lineage.doomed) == [2, 3]
    for task in (2, 3):
        lineage.ended(task)
    assert lineage.nodes == {}


def test_a_scope_that_is_closed_leaves_the_rest_to_what_is_around_it() -> None:
    lineage = Lineage()
    lineage.open_scope(10, 0, None, stops=False)
    lineage.open_scope(11, 10, None, stops=False)
    lineage.add(2, 11)
    lineage.ended(11)
    assert lineage.descendants(10) == [2]
    assert not lineage.doomed


def test_the_first_failure_in_a_scope_dooms_the_others_once() -> None:
    lineage = Lineage()
    lineage.open_scope(10, 0, None, stops=True)
    lineage.add(2, 10)
    lineage.add(3, 10)
    assert lineage.failed(10, b"first") is True
    assert lineage.failed(10, b"second") is True
    assert lineage.nodes[10].failure == b"first"
    assert list(lineage.doomed) == [2, 3]


def test_a_failure_is_no_affair_of_a_scope_that_only_waits_or_of_a_task() -> None:
    lineage = Lineage()
    lineage.open_scope(10, 0, None, stops=False)
    lineage.add(2, 10)
    lineage.add(3, 2)
    assert lineage.failed(10, b"") is False
    assert lineage.failed(2, b"") is False
    assert not lineage.doomed


def test_the_earliest_deadline_around_a_task_holds() -> None:
    lineage = Lineage()
    lineage.open_scope(10, 0, 7.0, stops=True)
    lineage.add(1, 10)
    lineage.open_scope(11, 1, 9.0, stops=True)
    lineage.add(2, 11)
    assert lineage.deadline_of(2) == 7.0
    assert lineage.deadline_of(99) is None
