from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pytest

from flame_remote._local.bell import Bell
from flame_remote._local.objects import ObjectTable, StoredObject
from flame_remote._local.waits import CallbackWatcher, RemoteRequest, Waiter
from flame_remote._outcome import Kind

ATOM, FAILED = int(Kind.ATOM), int(Kind.FAILED)


@pytest.fixture
def table() -> ObjectTable:
    """Objects 1 to 4, none of which is there yet."""
    table = ObjectTable()
    for object_id in range(1, 5):
        table.by_id[object_id] = StoredObject("work")
    return table


@pytest.fixture
def answerable() -> deque[RemoteRequest]:
    return deque()


def fetch(answerable: deque[RemoteRequest], *object_ids: int) -> RemoteRequest:
    return RemoteRequest(None, 1, list(object_ids), answerable, fetches=True, blocks=True)


def watch(answerable: deque[RemoteRequest], *object_ids: int) -> RemoteRequest:
    return RemoteRequest(None, 1, list(object_ids), answerable, fetches=False, blocks=True)


def waiter_on(table: ObjectTable, number: int, *, stop_at_failure: bool = False) -> Waiter:
    waiter = Waiter(number, stop_at_failure=stop_at_failure)
    for stored in table.by_id.values():
        stored.watchers = [waiter]
    return waiter


def test_waiter_is_done_when_enough_objects_are_there(table: ObjectTable) -> None:
    waiter = waiter_on(table, 2)
    table.settle(1, ATOM, 0, ())
    assert not waiter.done
    table.settle(2, FAILED, b"", ())
    assert waiter.done


def test_waiter_for_nothing_is_done_at_once() -> None:
    assert Waiter(0, stop_at_failure=False).done


def test_waiter_that_stops_at_a_failure_is_done_by_the_first(table: ObjectTable) -> None:
    waiter = waiter_on(table, 4, stop_at_failure=True)
    table.settle(1, ATOM, 0, ())
    assert not waiter.done
    table.settle(2, FAILED, b"", ())
    assert waiter.done


def test_waiter_that_is_told_of_the_end_is_done_and_knows_why() -> None:
    waiter = Waiter(1, stop_at_failure=False)
    error = RuntimeError("closed")
    waiter.fail(error)
    assert waiter.done
    assert waiter.error is error


def test_waiter_wakes_the_thread_that_sleeps_for_it(table: ObjectTable) -> None:
    waiter = waiter_on(table, 1)
    bell = waiter.bell = Bell()
    thread = threading.Thread(target=bell.wait, args=[None])
    thread.start()
    table.settle(3, ATOM, 0, ())
    thread.join()
    assert waiter.done


def test_callback_is_queued_and_not_called(table: ObjectTable) -> None:
    queue: deque[Callable[[], None]] = deque()
    calls: list[int] = []
    table.by_id[1].watchers = [CallbackWatcher(lambda: calls.append(1), queue)]
    table.settle(1, ATOM, 0, ())
    assert calls == []
    queue.popleft()()
    assert calls == [1]


def test_request_is_answerable_at_once_when_all_is_there(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    table.settle(1, ATOM, 0, ())
    request = fetch(answerable, 1)
    assert request.watch(table, [1], 1) == []
    assert list(answerable) == [request]


def test_request_waits_for_what_is_not_there(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    table.settle(1, ATOM, 0, ())
    request = fetch(answerable, 1, 2, 3)
    assert request.watch(table, [1, 2, 3], 3) == [2, 3]
    table.settle(3, ATOM, 0, ())
    assert not answerable
    table.settle(2, ATOM, 0, ())
    assert list(answerable) == [request]


def test_fetch_is_answerable_by_the_first_failure_and_only_once(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    request = fetch(answerable, 1, 2, 3)
    request.watch(table, [1, 2, 3], 3)
    for object_id in (2, 1, 3):
        table.settle(object_id, FAILED, b"", ())
        assert list(answerable) == [request]


def test_fetch_of_something_that_failed_before_is_answerable_at_once(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    table.settle(2, FAILED, b"", ())
    request = fetch(answerable, 1, 2)
    assert request.watch(table, [1, 2], 2) == []
    assert list(answerable) == [request]
    assert table.by_id[1].watchers is None


def test_watch_counts_failures_as_ends(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    request = watch(answerable, 1, 2, 3)
    request.watch(table, [1, 2, 3], 2)
    table.settle(2, FAILED, b"", ())
    assert not answerable
    table.settle(1, ATOM, 0, ())
    assert list(answerable) == [request]


def test_request_that_is_forgotten_leaves_no_trace_and_is_not_answered(
    table: ObjectTable, answerable: deque[RemoteRequest]
) -> None:
    other = watch(answerable, 1)
    other.watch(table, [1], 1)
    request = watch(answerable, 1, 2, 99)  # one that is gone meanwhile
    request.watch(table, [1, 2], 1)
    request.forget(table)
    assert table.by_id[1].watchers == [other]
    assert table.by_id[2].watchers == []
    table.settle(1, ATOM, 0, ())
    table.settle(2, ATOM, 0, ())
    assert list(answerable) == [other]
