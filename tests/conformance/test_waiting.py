"""wait, timeouts, and what is said about results that are not there."""

from __future__ import annotations

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


def test_wait_splits_refs_into_ready_and_rest_in_their_order() -> None:
    held = gate()
    refs = [identity.remote(1), held.wait.remote(), identity.remote(3), held.wait.remote()]
    ready, rest = flame.wait(refs, num_returns=2)
    assert ready == [refs[0], refs[2]]
    assert rest == [refs[1], refs[3]]
    held.open.remote()
    ready, rest = flame.wait(refs, num_returns=4)
    assert ready == refs
    assert rest == []


def test_wait_returns_no_more_than_was_asked_for() -> None:
    refs = [identity.remote(n) for n in range(4)]
    flame.get(refs)
    ready, rest = flame.wait(refs)
    assert ready == refs[:1]
    assert rest == refs[1:]


def test_wait_with_a_timeout_returns_what_there_is() -> None:
    held = gate()
    refs = [held.wait.remote(), identity.remote(1)]
    flame.get(refs[1])
    assert flame.wait(refs, num_returns=2, timeout=0) == ([refs[1]], [refs[0]])
    assert flame.wait(refs, num_returns=2, timeout=0.01) == ([refs[1]], [refs[0]])
    held.open.remote()
    assert flame.wait(refs, num_returns=2, timeout=60) == (refs, [])


def test_wait_counts_a_failed_task_as_ready() -> None:
    ref = fail.remote()
    assert flame.wait([ref]) == ([ref], [])


def test_results_can_be_taken_one_by_one_as_they_come() -> None:
    rest = [identity.remote(n) for n in range(50)]
    taken = []
    while rest:
        ready, rest = flame.wait(rest)
        taken += flame.get(ready)
    assert sorted(taken) == list(range(50))


def test_wait_refuses_what_makes_no_sense() -> None:
    ref = identity.remote(1)
    with pytest.raises(ValueError, match="more than once"):
        flame.wait([ref, ref])
    with pytest.raises(ValueError, match="num_returns"):
        flame.wait([ref], num_returns=2)
    with pytest.raises(ValueError, match="num_returns"):
        flame.wait([ref], num_returns=0)
    with pytest.raises(flame.RefMisuseError):
        flame.wait(ref)  # type: ignore[arg-type]


def test_get_with_a_timeout_says_what_is_missing() -> None:
    held = gate()
    waiting = held.wait.remote()
    refs = [identity.remote(1), waiting, identity.remote(waiting)]
    with pytest.raises(flame.GetTimeoutError) as caught:
        flame.get(refs, timeout=0.01)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.total, error.seconds) == (3, 0.01)
    assert "identity()" in str(error)
    assert "of 3 results not ready after 0.01 s" in str(error)
    held.open.remote()
    assert flame.get(refs, timeout=60) == [1, "through", "through"]


def test_a_timeout_of_zero_asks_without_waiting() -> None:
    held = gate()
    waiting, done = held.wait.remote(), identity.remote(1)
    flame.get(done)
    assert flame.get(done, timeout=0) == 1
    with pytest.raises(flame.GetTimeoutError):
        waiting.get(timeout=0)
    with pytest.raises(flame.GetTimeoutError):
        waiting.exception(timeout=0)
    assert not waiting.done()
    assert done.done()


def test_a_task_that_raises_a_timeout_error_of_its_own_is_told_apart() -> None:
    @flame.remote
    def slow() -> None:
        raise TimeoutError("of the task")

    ref = slow.remote()
    error = ref.exception(timeout=60)
    assert isinstance(error, TimeoutError)
    assert not isinstance(error, flame.GetTimeoutError)
    assert isinstance(error, flame.TaskError)


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any, error: type[Exception]) -> None:
    ref = identity.remote(1)
    with pytest.raises(error, match="timeout"):
        flame.get(ref, timeout=timeout)
